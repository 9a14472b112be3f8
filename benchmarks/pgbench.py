"""pgbench: measures the transactions per second of a script with PostgreSQL's own tool."""

import subprocess
from pathlib import Path

from tools.servers import Postgres


def pgbench(server: Postgres, script: Path, clients: int, seconds: int, database: str = "postgres") -> float:
    """Returns the transactions per second, without the time to connect."""
    command = [
        str(server.bin("pgbench")), "-n", "-M", "prepared", "-f", str(script), "-c", str(clients), "-j",
        str(min(clients, 2)),
        "-T", str(seconds), "-h", server.host, "-p", str(server.port), "-U", server.user, database,
    ]  # fmt: skip
    output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    [line] = [line for line in output.splitlines() if line.startswith("tps")]
    return float(line.split()[2])
