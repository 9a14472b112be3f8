"""A pooler in transaction mode is told at once, before a lock is left on a session that others use."""

import subprocess
from pathlib import Path

import psycopg
from click.testing import CliRunner

from bridge.cli import cli
from tests.fix_bridge import BRIDGE, Bridges, environment
from tests.fix_broker import Broker
from tests.fix_pooler import Pooler
from tests.fix_postgres import Database

LOCKS = """
    select count(*) from pg_locks
    where locktype = 'advisory' and database = (select oid from pg_database where datname = current_database())
"""


def test_the_bridge_does_not_run_behind_a_pooler_in_transaction_mode(
    conn: psycopg.Connection, pooler: Pooler, valkey: Broker
) -> None:
    argv: list[str | Path] = [BRIDGE, "run", "--database-url", pooler.dsn, "--broker-url", valkey.url]
    done = subprocess.run(argv, check=False, capture_output=True, text=True, env=environment(), timeout=60)
    assert done.returncode == 2
    assert "a pooler in transaction mode stands before the database" in done.stderr
    assert "Traceback" not in done.stderr
    assert conn.execute(LOCKS.encode()).fetchone() == (0,)


def test_commands_that_hold_no_session_work_behind_it(conn: psycopg.Connection, pooler: Pooler) -> None:
    result = CliRunner().invoke(cli, ["install", "--database-url", pooler.dsn])
    assert (result.exit_code, "installed already" in result.output) == (0, True)
    assert CliRunner().invoke(cli, ["status", "--json", "--database-url", pooler.dsn]).exit_code == 0


def test_a_direct_connection_is_never_taken_for_a_pooled_one(
    database: Database, valkey: Broker, run_bridge: Bridges
) -> None:
    bridge = run_bridge(database.dsn, broker_url=valkey.url)
    assert bridge.stop() == 0
