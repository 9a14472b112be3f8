"""`python -m bridge` runs the command `bridge`."""

from bridge.cli.main import main

main()
