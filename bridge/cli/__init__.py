"""Command line: the command `bridge`, one module for each of its commands."""
