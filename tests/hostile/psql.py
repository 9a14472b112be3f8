"""Runs psql as a person would to apply triggers.sql."""

import os
import subprocess

from tests.fix_postgres import Database
from tools.servers import Postgres


def psql(database: Database, *options: str, script: str = "") -> subprocess.CompletedProcess[str]:
    """Runs psql without the user's settings, and without waiting for the disk at each of a hundred statements."""
    env = {**os.environ, "PGOPTIONS": "-c synchronous_commit=off"}
    command = [str(Postgres.bin("psql")), database.dsn, "-X", *options]
    return subprocess.run(command, check=False, capture_output=True, text=True, input=script, env=env)
