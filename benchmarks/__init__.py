"""Benchmarks: scripts, never timed tests. Each compares interleaved in one run and reports ratios beside a baseline."""
