"""Portion: the events of the first rows of a look or a walk, until the batch is full.

The memory of a batch must not depend on the size of the rows. So 5,000 events of 1 MB become at least 2,500 batches.
"""

from collections.abc import Sequence
from itertools import takewhile

from bridge.database.connection import Connection
from bridge.database.query import query
from bridge.database.statement import statement
from bridge.errors import DatabaseError, TooLongError
from bridge.event import Event
from bridge.stream.row import Row, event_of, filled, is_wide, places, too_long, weight

_WIDE = statement("read_wide_values")

# Characters of JSON in a batch, unless a single event has more. In memory an event takes several times this size: as
# text, as values, and as a message. And two batches are in memory at once.
_ROOM = 2_000_000

# Characters of JSON that one event may have: more than brokers accept, and less than the limit of a text in PostgreSQL
# (1 GB).
_MOST = 256_000_000


async def portion(connection: Connection, rows: Sequence[Row]) -> tuple[list[Event], int]:
    """Returns the events of the first rows that fit, at least one, and their weight in characters. It reads the values
    of wide rows."""
    whole = weight(rows) if rows else 0
    if whole is not None and whole <= _ROOM:
        return [event_of(row) for row in rows], whole
    events: list[Event] = []
    taken = 0
    ready: list[Row] = []
    while len(events) < len(rows) and taken < _ROOM:
        row = rows[len(events)]
        if is_wide(row):
            if not ready:
                wide = list(takewhile(is_wide, rows[len(events) :]))
                ready = await _with_values(connection, wide, _ROOM - taken)
            row = ready.pop(0)
        size = weight([row]) or 0
        if events and taken + size > _ROOM:
            break
        events.append(event_of(row))
        taken += size
    return events, taken


async def _with_values(connection: Connection, rows: Sequence[Row], room: int) -> list[Row]:
    """Returns the first of these wide rows with their values: those that fit into `room`, and perhaps one more."""
    values = {**places(rows), "room": room, "most": _MOST}
    try:
        found = await query(connection, _WIDE, values, named=False)
    except TooLongError:
        # PostgreSQL can't make a text of that length, and does not say in which row.
        return await _with_values(connection, rows[:1], room) if len(rows) > 1 else [too_long(rows[0])]
    if not found:
        raise DatabaseError("the log was rewritten (VACUUM FULL) while it was read")
    return [
        filled(row, texts) if length <= _MOST else too_long(row)
        for row, (length, *texts) in zip(rows, found, strict=False)
    ]
