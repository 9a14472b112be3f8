"""Stored position: the row of one stream in `bridge.position`, which only the owner of the stream changes."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import msgspec

from bridge.batch import Position
from bridge.database.connection import Connection
from bridge.database.query import query
from bridge.database.statement import statement
from bridge.errors import ConfigError, NotReadyError, PositionError

_READ = statement("read_position")
_MOVE = statement("move_position")
_BROKER_ERROR = statement("note_broker_error")


class StoredPosition:
    """Finds its row by the place where the row is, since the table has no index
    (docs/decisions/0009-position-without-index.md)."""

    def __init__(self, connection: Connection, stream: str) -> None:
        self._connection = connection
        self._stream = stream
        self._ctid = ""
        self._broker_away = False
        """Whether the database has a note that the broker is away."""

    async def read(self) -> Position:
        """Returns the position, and proves that it can be moved. Raises PositionError if not."""
        with _movable():
            rows = await query(self._connection, _READ, {"stream": self._stream})
        row = row_of(rows, self._stream)
        self._ctid, self._broker_away = row.ctid, row.broker_away
        return Position(row.seen, row.upto, row.after_id, row.largest_id)

    async def move(self, position: Position) -> None:
        """Stores the position. Raises PositionError if the server refuses it."""
        values = {**msgspec.structs.asdict(position), "stream": self._stream}
        with _movable():
            moved = await query(self._connection, _MOVE, {**values, "ctid": self._ctid})
            if not moved:
                # The row is at another place now (after a VACUUM FULL, say). This session owns the stream, so it may
                # look for the row.
                rows = await query(self._connection, _READ, {"stream": self._stream})
                moved = await query(self._connection, _MOVE, {**values, "ctid": row_of(rows, self._stream).ctid})
        self._ctid = row_of(moved, self._stream).ctid

    async def note_broker(self, error: str | None) -> None:
        """Stores why the broker refuses messages, or None: it accepts them. Costs no statement when nothing has
        changed."""
        if self._broker_away != (error is not None):
            values = {"stream": self._stream, "reason": error}
            rows = await query(self._connection, _BROKER_ERROR, values)
            self._ctid = row_of(rows, self._stream).ctid
            self._broker_away = error is not None


def row_of(rows: Sequence[Any], stream: str) -> Any:
    """Returns the row of the stream. Raises PositionError if somebody has deleted it."""
    if not rows:
        raise PositionError(f'stream "{stream}" has no row in bridge.position any more')
    return rows[0]


@contextmanager
def _movable() -> Iterator[None]:
    """Turns an error that this session can't mend into a PositionError: the relay retries, since the cause may go
    away."""
    try:
        yield
    except (ConfigError, NotReadyError) as error:
        raise PositionError(f"the position can't be moved: {error}") from error
