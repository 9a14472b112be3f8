"""Pooler: detects a pooler between us and PostgreSQL that gives each transaction another session.

Behind such a pooler, locks and settings stay in a session that other clients use next. The usual one is PgBouncer in
transaction mode. In session mode it does no harm.
"""

from collections.abc import Awaitable, Callable
from typing import Any

from psycopg import AsyncConnection

from bridge.database.statement import statement

_PID = statement("read_backend_pid")

Raw = AsyncConnection[Any]

# Tries. A pooler that uses its sessions in turn may need more than one to show.
_TRIES = 5


async def shares_sessions(connection: Raw, connect: Callable[[], Awaitable[Raw]]) -> bool:
    """Whether the connection shares its session with others. `connect` opens a second connection for the test, if
    one is needed."""
    before = await _pid(connection)
    if before == connection.info.backend_pid:
        return False  # no pooler answered for PostgreSQL when we connected
    other = await connect()
    try:
        for _ in range(_TRIES):
            theirs, ours = await _pid(other), await _pid(connection)
            # Two connections have one session, or one connection has had two.
            if theirs == ours or ours != before:
                return True
        return False
    finally:
        await other.close()


async def _pid(connection: Raw) -> int:
    cursor = await connection.execute(_PID)
    [(pid,)] = await cursor.fetchall()
    return int(pid)
