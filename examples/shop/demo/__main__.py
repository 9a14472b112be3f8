"""The entry point of `scripts/demo`."""

from demo.cli import main

main(prog_name="scripts/demo")
