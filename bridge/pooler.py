"""Pooler: tells whether one stands between us and PostgreSQL that gives each transaction another session.

Behind it a lock stays with a session that others use next, and so do settings. PgBouncer in transaction mode is the
usual one; in session mode it does no harm.
"""

from collections.abc import Awaitable, Callable
from typing import Any

from psycopg import AsyncConnection

Raw = AsyncConnection[Any]

# A pooler that hands out sessions in turn needs more than one.
_TRIES = 5


async def shares_sessions(connection: Raw, connect: Callable[[], Awaitable[Raw]]) -> bool:
    """Whether the connection has no session of its own; `connect` opens another like it, where that must be tried."""
    before = await _pid(connection)
    if before == connection.info.backend_pid:
        return False  # nobody answered for PostgreSQL when we connected
    other = await connect()
    try:
        for _ in range(_TRIES):
            theirs, ours = await _pid(other), await _pid(connection)
            # Two connections with one session, or one connection with two.
            if theirs == ours or ours != before:
                return True
        return False
    finally:
        await other.close()


async def _pid(connection: Raw) -> int:
    # With its schema, since this comes before the session's search_path is set.
    cursor = await connection.execute("select pg_catalog.pg_backend_pid()")
    [(pid,)] = await cursor.fetchall()
    return int(pid)
