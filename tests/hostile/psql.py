"""psql, as a person applies triggers.sql with it."""

import os
import subprocess

from embedded import Postgres

from tests.fix_postgres import Database


def psql(database: Database, *options: str, script: str = "") -> subprocess.CompletedProcess[str]:
    """Without the user's own settings, and without a wait for the disk at each of a hundred statements."""
    env = {**os.environ, "PGOPTIONS": "-c synchronous_commit=off"}
    command = [str(Postgres.bin("psql")), database.dsn, "-X", *options]
    return subprocess.run(command, check=False, capture_output=True, text=True, input=script, env=env)
