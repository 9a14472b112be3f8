"""Reader: events of the rows that a look or a walk gave, as many as there is room for.

What a batch takes in memory must not depend on what somebody wrote into a row: 5,000 events of 1 MB are 1,000 batches.
"""

from collections.abc import Sequence

from bridge.database import Connection, query, statement
from bridge.errors import DatabaseError, TooLongError
from bridge.event import Event
from bridge.row import Row, event_of, filled, first_wide, is_wide, place, too_long, weight

_WIDE = statement("wide")

# Characters of JSON in a batch, unless one event has more. In memory an event takes several times as much: as text, as
# values, as a message; and two batches are there at once.
_ROOM = 2_000_000

# Characters of JSON that one event may have: more than brokers take, and less than PostgreSQL's texts may have (1 GB).
_MOST = 256_000_000


async def portion(connection: Connection, rows: Sequence[Row]) -> tuple[list[Event], int]:
    """Events of the first rows, one at least, and their weight in characters; wide rows get their values here."""
    whole = weight(rows) if rows else 0
    if whole is not None and whole <= _ROOM:
        return [event_of(row) for row in rows], whole
    events: list[Event] = []
    taken = 0
    ready: list[Row] = []
    while len(events) < len(rows):
        row = rows[len(events)]
        if is_wide(row):
            ready = ready or await _with_values(connection, first_wide(rows[len(events) :], _ROOM - taken))
            row = ready.pop(0)
        size = weight([row]) or 0
        if events and taken + size > _ROOM:
            break
        events.append(event_of(row))
        taken += size
    return events, taken


async def _with_values(connection: Connection, rows: Sequence[Row]) -> list[Row]:
    """The first of these wide rows with their values, one at least."""
    places = [place(row) for row in rows]
    values = {
        "slots": [slot for _, slot, _ in places],
        "places": [ctid for *_, ctid in places],
        "ids": [row[0] for row in rows],
        "ats": [row[6] for row in rows],
        "xids": [row[7] for row in rows],
        "room": _ROOM,
        "most": _MOST,
    }
    try:
        found = await query(connection, _WIDE, values)
    except TooLongError:
        # PostgreSQL has no text that long, and does not say of which row.
        return await _with_values(connection, rows[:1]) if len(rows) > 1 else [too_long(rows[0])]
    if not found:
        raise DatabaseError("the log was rewritten while it was read (VACUUM FULL)")
    return [
        filled(row, texts) if length <= _MOST else too_long(row)
        for row, (length, *texts) in zip(rows, found, strict=False)
    ]
