"""The catalogue of capture: every way to write, each with its test. docs/reference/capture.md is its table."""
