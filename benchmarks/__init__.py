"""Benchmarks: scripts, not tests with time limits. Each compares interleaved runs and reports ratios to a baseline.

Shared modules: server (PostgreSQL), broker (RabbitMQ, Valkey), bridge (`bridge run`, seen from outside), process
(memory, CPU), pace (a writer with a steady rate), pgbench, report (options and output), figure (pictures).
"""
