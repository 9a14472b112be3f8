"""Benchmarks: scripts, never timed tests. Each compares interleaved in one run and reports ratios beside a baseline.

Shared: server (PostgreSQL), broker (RabbitMQ, Valkey), bridge (`bridge run`, from outside), process (memory, CPU),
pace (a writer at a rate), pgbench, report (options and output), figure (pictures).
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent / "scripts"))
