"""Row: an event as the database returns it (read_window.sql, walk_window.sql), and how it becomes an Event."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import msgspec

from bridge.event import NO_TIME, Event
from bridge.nesting import MOST, TOO_DEEP, is_deep
from bridge.reason import reason

# id, watch, op, key, data, context, at, xid, and the place of the values (slot and ctid). Only a wide row, which comes
# without its values, has this place.
Row = tuple[Any, ...]

_VALUES = (1, 3, 4, 5)
_PLACE = 8

# The mark in place of a key when the values are too long. It is compared by identity, so no row's key equals it.
_TOO_LONG = "too long"


class Window(NamedTuple):
    """What the first row of a look says of all its rows."""

    snapshot: str
    """The position after the delivery of these events."""
    generation: int
    unflushed: bool | None
    """Whether a change may not be on disk yet."""
    is_empty: bool


_decode_key = msgspec.json.Decoder(list[Any]).decode
_decode_data = msgspec.json.Decoder(dict[str, Any]).decode


def event_of(row: Row) -> Event:
    """Returns the event. An event that can't be used has a flaw, and becomes a dead letter. No row raises an error."""
    number, watch, op, key, data, context, at, xid = row[:8]
    flaw = None
    if key is _TOO_LONG:
        key, flaw = None, "its values are too long to be read"
    try:
        key_values = None if key is None else _decode_key(key)
        values = None if data is None else _decode_data(data)
    except (ValueError, RecursionError) as error:
        # msgspec's errors are ValueErrors.
        key_values = values = None
        flaw = f"its key or data can't be used: {reason(error)}"
    # The length is checked first, because a call for each short text would be a tenth of the whole cost of reading.
    if (key and len(key) > MOST and is_deep(key, key_values)) or (data and len(data) > MOST and is_deep(data, values)):
        key_values = values = None
        flaw = TOO_DEEP
    if values and op != "send" and "unreadable" in values:
        # Capture records a change even if it can't read all of it, because no writer may fail.
        flaw = f"capture could not read the row: {values['unreadable']}"
    if at is None:
        at, flaw = NO_TIME, flaw or "its time is outside the years 1 to 9999"
    return Event(number, watch, op, key_values, values, context, at, xid, (), flaw)


def window_of(first: Row) -> Window:
    """Returns the window of a look from its first row."""
    snapshot, generation, unflushed = first[9:]
    return Window(snapshot, generation, unflushed, is_empty=first[0] is None)


def id_of(row: Row) -> int:
    """Returns the event's id."""
    return int(row[0])


def is_wide(row: Row) -> bool:
    """Whether its values are still in the database."""
    return row[_PLACE] is not None


def weight(rows: Sequence[Row]) -> int | None:
    """Returns the number of characters of their values, or None when a row is wide."""
    # A sum by column costs a fifth of a sum by row.
    columns = tuple(zip(*rows, strict=True))
    if any(columns[_PLACE]):
        return None
    return sum(sum(map(len, filter(None, columns[index]))) for index in _VALUES)


def places(rows: Sequence[Row]) -> dict[str, list[Any]]:
    """Returns where the values of wide rows are, and what identifies these rows."""
    slots, ctids = zip(*(row[_PLACE].split() for row in rows), strict=True)
    return {
        "slots": list(slots),
        "places": list(ctids),
        "ids": [row[0] for row in rows],
        "ats": [row[6] for row in rows],
        "xids": [row[7] for row in rows],
    }


def filled(row: Row, values: Sequence[str | None]) -> Row:
    """Returns a wide row with its values."""
    return (row[0], *values, row[6], row[7], None)


def too_long(row: Row) -> Row:
    """Returns a wide row without values, because no broker accepts values of that length."""
    return (row[0], "", "", _TOO_LONG, None, None, row[6], row[7], None)
