"""Query: runs one statement, and waits for one notification."""

import asyncio
from collections.abc import Iterator, Mapping
from contextlib import aclosing, contextmanager, suppress
from typing import Any

import anyio
import psycopg
from psycopg import sql
from psycopg.rows import namedtuple_row, tuple_row

from bridge.database.connection import Connection
from bridge.database.statement import statement
from bridge.database.translation import translated
from bridge.errors import SilenceError

_COMMIT = statement("commit_and_chain").encode()
_ROLLBACK = statement("rollback_and_chain").encode()


async def query(
    connection: Connection,
    text: str,
    values: Mapping[str, Any] | None = None,
    *,
    slow: bool = False,
    named: bool = True,
) -> list[Any]:
    """Returns the rows of a statement, as named tuples. A cancellation waits for its end (`advisory_lock` has the
    reason). A batch of events is read without names, which is quicker.

    Raises DatabaseError when a quick statement has no answer in time: the connection may have broken unnoticed while it
    was idle.
    """
    rows: list[Any] = []
    with anyio.CancelScope(shield=True), translated(), answered(connection, None if slow else connection.patience):
        rows += await rows_of(connection, text, values, named=named)
    return rows


async def fetch(connection: Connection, cursor: str, number: int) -> list[tuple[Any, ...]]:
    """Returns the next rows of a cursor, as plain tuples."""
    # FETCH takes no parameters.
    text = sql.SQL("fetch {} from {}").format(sql.Literal(number), sql.Identifier(cursor))
    return await query(connection, text.as_string(connection), named=False)


async def rows_of(
    connection: Connection, text: str, values: Mapping[str, Any] | None, *, named: bool = True
) -> list[Any]:
    """Returns the rows of a statement, without a deadline, and with psycopg's own errors."""
    try:
        cursor = connection.cursor(row_factory=namedtuple_row if named else tuple_row)
        await cursor.execute(text, values)
        rows = await cursor.fetchall() if cursor.description else []
    except psycopg.Error:
        if connection.pinned:
            with suppress(psycopg.Error):
                await connection.execute(_ROLLBACK)
        raise
    if connection.pinned:
        # This commits the statement. The next transaction begins at once, so the pooler can't take the session away.
        await connection.execute(_COMMIT)
    return rows


@contextmanager
def answered(connection: Connection, within: float | None) -> Iterator[None]:
    """Closes the socket when the block takes longer than `within` seconds. It uses a timer, since a task for each
    statement would cost the same as the statement itself."""
    if within is None:
        yield
        return
    late = False

    def hang_up() -> None:
        nonlocal late
        late = True
        connection.hang_up()

    timer = asyncio.get_running_loop().call_later(within, hang_up)
    try:
        yield
    except psycopg.Error as error:
        if late:
            raise SilenceError(f"the server did not answer within {within:g} s (tcp_user_timeout)") from error
        raise
    finally:
        timer.cancel()


async def notification(connection: Connection, within: float | None = None) -> bool:
    """Whether a notification came within this number of seconds (None: no limit)."""
    async with aclosing(connection.notifies(timeout=within, stop_after=1)) as notifications:
        async for _ in notifications:
            return True
    return False
