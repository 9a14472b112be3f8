"""Dead letters: events that could not be published as they are, and wait for a person to decide."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Any, Literal

import msgspec

from bridge.database.connect import connect
from bridge.database.connection import Connection
from bridge.database.query import query
from bridge.database.statement import statement

# Dead letters per transaction. A million of them must not become one transaction, and the relay can publish the first
# thousand while the others follow.
CHUNK = 1000

_LIST = statement("list_dead_letters")
_NOW = statement("read_clock")
_CALLS = {
    "retry": statement("retry_dead_letters"),
    "discard": statement("discard_dead_letters"),
}


class Choice(msgspec.Struct, frozen=True):
    """A choice of dead letters: those that meet all conditions that are not None. Times are times of the failure."""

    ids: list[int] | None = None
    watch: str | None = None
    stream: str | None = None
    since: datetime | None = None
    until: datetime | None = None


class DeadLetter(msgspec.Struct, frozen=True):
    """An event, and the reason why it could not be published."""

    id: int
    stream: str
    watch: str
    op: str
    key: msgspec.Raw | None
    """JSON as it is in the log. It may have numbers or nesting that Python can't read; that may be the reason."""
    data: msgspec.Raw | None
    context: str | None
    at: datetime | None
    """Time of the event. None: outside the range of Python's datetime."""
    reason: str
    failed_at: datetime


class DeadLetters:
    """The dead letters of a database."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    @classmethod
    @asynccontextmanager
    async def open(cls, database_url: str) -> AsyncIterator["DeadLetters"]:
        """Connects to the database. `database.connect` lists the errors."""
        async with connect(database_url, "dead letters") as connection:
            yield cls(connection)

    async def list(self, choice: Choice, at_most: int) -> tuple[Sequence[DeadLetter], int]:
        """Returns the first `at_most` of the chosen dead letters in order of id, and the number of all chosen."""
        values = {**msgspec.structs.asdict(choice), "at_most": at_most}
        rows = await query(self._connection, _LIST, values)
        return [_letter(row) for row in rows], rows[0][-1] if rows else 0

    async def settle(self, action: Literal["retry", "discard"], choice: Choice) -> AsyncIterator[int]:
        """Retries or discards them in transactions of a thousand, and yields the number in each transaction. It leaves
        out dead letters that are added meanwhile."""
        [(now,)] = await query(self._connection, _NOW)
        until = now if choice.until is None else min(now, choice.until)
        values = {**msgspec.structs.asdict(choice), "until": until, "at_most": CHUNK}
        while True:
            [(number,)] = await query(self._connection, _CALLS[action], values)
            if not number:
                return
            yield int(number)


def _letter(row: tuple[Any, ...]) -> DeadLetter:
    number, stream, watch, op, key, data, *rest, _ = row
    return DeadLetter(number, stream, watch, op, _raw(key), _raw(data), *rest)


def _raw(text: str | None) -> msgspec.Raw | None:
    return None if text is None else msgspec.Raw(text)
