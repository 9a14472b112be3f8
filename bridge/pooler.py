"""Pooler: tells whether one stands between us and PostgreSQL that gives each transaction another session.

Behind it a lock stays with a session that others use next, and LISTEN hears nothing: ownership and armed sleep rest on
sessions that are ours. PgBouncer in transaction mode is the usual one; in session mode it does no harm.
"""

from bridge.database import Connection, connect, query
from bridge.errors import ConfigError

_PID = "select pg_backend_pid()"
# A pooler that hands out sessions in turn needs more than one.
_TRIES = 5


async def require_session(connection: Connection, database_url: str) -> None:
    """ConfigError when the connection has no session of its own; asked before it takes a lock, which would stay."""
    before = await _pid(connection)
    if before == connection.info.backend_pid:
        return  # nobody answered for PostgreSQL when we connected
    async with connect(database_url, "session check") as other:
        for _ in range(_TRIES):
            theirs, ours = await _pid(other), await _pid(connection)
            # Two connections with one session, or one connection with two.
            if theirs == ours or ours != before:
                raise ConfigError(
                    "a pooler in transaction mode stands before the database, where locks and LISTEN do not last: "
                    "give the bridge a direct connection, or a pool in session mode"
                )


async def _pid(connection: Connection) -> int:
    [(pid,)] = await query(connection, _PID)
    return int(pid)
