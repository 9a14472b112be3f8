"""Server: a private PostgreSQL with the schema `bridge` and watched tables, and queries on it."""

import time

import msgspec
import psycopg

from benchmarks.broker import QUEUE
from bridge.database import schema
from tools.servers import Postgres

SETTINGS = {
    "shared_buffers": "256MB",
    "max_connections": "120",
    "max_wal_size": "4GB",
    "synchronous_commit": "on",
    "shared_preload_libraries": "pg_stat_statements",
}


def postgres() -> Postgres:
    """Returns a server to use in a `with` block. Its data does not survive a crash."""
    return Postgres(settings=SETTINGS)


def connect(server: Postgres) -> psycopg.Connection:
    """Connects to the server. The caller closes the connection."""
    return psycopg.connect(server.dsn(), autocommit=True)


def prepare(
    conn: psycopg.Connection, table: str = "item", stream: str = "default", *, queue: str = QUEUE, rows: int = 0
) -> None:
    """Makes the schema, and a watched table whose events call the task `bench.touch` with the row's id."""
    if conn.execute("select to_regnamespace('bridge') is null").fetchone() == (True,):
        conn.execute(schema.read().encode())
        conn.execute("create extension pg_stat_statements")
    conn.execute(f"create table {table} (id bigint primary key, touched int not null default 0)".encode())
    conn.execute(f"insert into {table} select generate_series(1, %s)".encode(), [rows])
    conn.execute(f"vacuum analyze {table}".encode())
    watch(conn, table, stream, {"queue": queue})


def watch(conn: psycopg.Connection, table: str, stream: str, options: dict[str, object]) -> None:
    """Declares the table's one watch, or changes it."""
    conn.execute(
        "select bridge.watch(%s, %s, 'bench.touch', stream => %s, options => %s::jsonb)",
        [table, table, stream, msgspec.json.encode(options).decode()],
    )


def can_coalesce(conn: psycopg.Connection) -> bool:
    """Whether this schema has the option `coalesce`."""
    try:
        with conn.transaction(force_rollback=True):
            watch(conn, "item", "default", {"coalesce": True})
    except psycopg.Error:
        return False
    return True


def delivered_at(conn: psycopg.Connection, stream: str = "default", seconds: float = 900.0) -> float:
    """Waits until no event waits; returns when the last one was delivered, as time.time() counts.

    The count is expensive, so it is asked for at intervals. The moment comes from the position's own time.
    """
    sql = "select waiting, extract(epoch from moved_at)::float from bridge.status() where stream = %s"
    deadline = time.monotonic() + seconds
    while True:
        started = time.monotonic()
        [(waiting, moved_at)] = conn.execute(sql, [stream]).fetchall()
        if waiting == 0:
            return float(moved_at)
        if time.monotonic() > deadline:
            raise SystemExit(f"{waiting} events still wait after {seconds:g} s")
        # The counts take at most a twentieth of one processor.
        time.sleep(max(0.1, 20 * (time.monotonic() - started)))


def statistics(conn: psycopg.Connection, pattern: str) -> tuple[int, float]:
    """Returns the calls so far of the statements that are LIKE this, and their time in milliseconds."""
    sql = "select coalesce(sum(calls), 0)::bigint, coalesce(sum(total_exec_time), 0)::float from pg_stat_statements"
    # Leaves out this query itself, which contains the pattern only as a parameter.
    row = conn.execute(f"{sql} where query ilike %s and query not ilike '%%pg_stat_statements%%'".encode(), [pattern])
    [(calls, milliseconds)] = row.fetchall()
    return calls, milliseconds
