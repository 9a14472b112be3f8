"""The catalogue of capture: each way to write has its test. The table is docs/reference/capture.md."""
