"""Reader: events of the rows that a look or a walk gave, as many as there is room for.

What a batch takes in memory must not depend on what somebody wrote into a row: 5,000 events of 1 MB are 1,000 batches.
"""

from collections.abc import Sequence

from bridge.database import Connection, query, statement
from bridge.errors import DatabaseError
from bridge.event import Event
from bridge.row import Row, event_of, filled, first_wide, is_wide, place, weight

_WIDE = statement("wide")

# Characters of JSON in a batch, unless one event has more. In memory an event takes several times as much: as text, as
# values, as a message; and two batches are there at once.
_ROOM = 2_000_000


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
    places = [place(row) for row in rows]
    ids = [row[0] for row in rows]
    slots, ctids = [slot for _, slot, _ in places], [ctid for *_, ctid in places]
    found = await query(connection, _WIDE, {"ids": ids, "slots": slots, "places": ctids})
    values = {(slot, ctid): rest for slot, ctid, *rest in found}
    try:
        return [filled(row, tuple(values[slot, ctid])) for row, (_, slot, ctid) in zip(rows, places, strict=True)]
    except KeyError as error:
        raise DatabaseError("the log was rewritten while it was read (VACUUM FULL)") from error
