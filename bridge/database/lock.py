"""Lock: waits for session-level advisory locks, and releases them."""

from contextlib import suppress
from datetime import timedelta

import anyio
import anyio.lowlevel
import psycopg

from bridge.database.connection import Connection
from bridge.database.query import query, rows_of
from bridge.database.statement import statement
from bridge.errors import BridgeError

_LOCK = statement("await_lock")
_UNLOCK = statement("release_locks")

# A waiting statement holds back VACUUM, so a wait for a lock is ended and begun again after this time.
_RENEWED = timedelta(minutes=1)

# Seconds that a cancelled wait for a lock may take to end. After that the connection is given up.
_CALL_OFF = 5.0


async def advisory_lock(connection: Connection, key: int) -> None:
    """Waits without a limit for a session-level advisory lock. The connection stays usable after a cancelled wait.

    anyio cancels a task repeatedly until it ends, which breaks the way psycopg ends a query. So the query runs
    shielded, and a second task turns the cancellation into a cancel request to the server.
    """
    failure: psycopg.Error | None = None
    called_off = False
    over = anyio.Event()
    async with anyio.create_task_group() as group:

        async def call_off() -> None:
            nonlocal called_off
            try:
                await anyio.sleep_forever()
            finally:
                if not over.is_set():
                    called_off = True
                    with anyio.CancelScope(shield=True):
                        with suppress(psycopg.Error):
                            await connection.cancel_safe(timeout=_CALL_OFF)
                        with anyio.move_on_after(_CALL_OFF):
                            await over.wait()
                    if not over.is_set():
                        connection.hang_up()

        group.start_soon(call_off)
        with anyio.CancelScope(shield=True):
            try:
                while not called_off and not await _locked(connection, key):
                    pass
            except psycopg.Error as error:
                failure = error
        over.set()
        group.cancel_scope.cancel()
    if called_off:
        # This raises the cancellation again: a cancelled wait must never look like a granted lock.
        await anyio.lowlevel.checkpoint()
    if failure is not None:
        raise failure


async def _locked(connection: Connection, key: int) -> bool:
    [(granted,)] = await rows_of(connection, _LOCK, {"key": key, "at_most": _RENEWED})
    return bool(granted)


async def advisory_unlock_all(connection: Connection) -> None:
    """Releases every session-level advisory lock of this connection, held or not."""
    try:
        await query(connection, _UNLOCK)
    except BridgeError as error:
        if not isinstance(error.__cause__, psycopg.errors.QueryCanceled):
            raise
        # The cancel request of an earlier wait for a lock arrived late, and cancelled this statement instead.
        await query(connection, _UNLOCK)
