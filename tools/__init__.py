"""Tools: programs for people who work on this repository. The commands in scripts/ start them."""
