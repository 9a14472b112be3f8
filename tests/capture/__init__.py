"""The catalogue of capture: each way to write has its test. docs/reference/capture.md is its table of contents."""
