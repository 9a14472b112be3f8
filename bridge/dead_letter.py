"""Dead letters: events that could not be published as they are, and wait for a person."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Any, Literal

import msgspec

from bridge.database import Connection, connect, query, statement

# A million of them must not become one transaction; the relay starts on the first thousand meanwhile.
CHUNK = 1000

_LIST = statement("dead_letters")
_CALLS = {
    "retry": "select bridge.retry(%(ids)s, %(watch)s, %(stream)s, %(since)s, %(until)s, %(at_most)s)",
    "discard": "select bridge.discard(%(ids)s, %(watch)s, %(stream)s, %(since)s, %(until)s, %(at_most)s)",
}


class Choice(msgspec.Struct, frozen=True):
    """Which dead letters: all conditions hold that are not None; times are of the failure."""

    ids: list[int] | None = None
    watch: str | None = None
    stream: str | None = None
    since: datetime | None = None
    until: datetime | None = None


class DeadLetter(msgspec.Struct, frozen=True):
    """The event, and why it could not be published."""

    id: int
    stream: str
    watch: str
    op: str
    key: msgspec.Raw | None
    """JSON as it is, which may be the reason: numbers and nesting that Python can't take."""
    data: msgspec.Raw | None
    context: str | None
    at: datetime | None
    """None: beyond what Python can say."""
    reason: str
    failed_at: datetime


class DeadLetters:
    """The dead letters of a database."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    @classmethod
    @asynccontextmanager
    async def open(cls, database_url: str) -> AsyncIterator["DeadLetters"]:
        """Connects; see `database.connect` for the errors."""
        async with connect(database_url, "dead letters") as connection:
            yield cls(connection)

    async def list(self, choice: Choice, at_most: int) -> tuple[Sequence[DeadLetter], int]:
        """The oldest of them, in order of id, and the number of all."""
        values = {**msgspec.structs.asdict(choice), "at_most": at_most}
        rows = await query(self._connection, _LIST, values)
        return [_letter(row) for row in rows], rows[0][-1] if rows else 0

    async def settle(self, action: Literal["retry", "discard"], choice: Choice) -> AsyncIterator[int]:
        """Retries or discards them in transactions of a thousand, those that fail meanwhile not included; yields the
        number of each."""
        [(now,)] = await query(self._connection, "select clock_timestamp()")
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
