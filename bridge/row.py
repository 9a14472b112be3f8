"""Row: an event as the database says it (look.sql, rest.sql), one by one made into Events."""

from collections.abc import Sequence
from itertools import takewhile
from typing import Any

import msgspec

from bridge.event import NO_TIME, Event
from bridge.nesting import MOST, TOO_DEEP, is_deep
from bridge.reason import reason

# id, watch, op, key, data, context, at, xid, and of a wide row, which comes without its values, where they are
Row = tuple[Any, ...]

_VALUES = (1, 3, 4, 5)
_ELSEWHERE = 8

# Bytes in memory that a byte on disk can become where it is compressed (pglz: 273 for 3; LZ4 can do more, and is not
# known to with JSON).
_COMPRESSED = 100

# In the place of a key, where no row has it.
_TOO_LONG = "too long"

_decode_key = msgspec.json.Decoder(list[Any]).decode
_decode_data = msgspec.json.Decoder(dict[str, Any]).decode


def event_of(row: Row) -> Event:
    """The event; one that can't be read has a flaw and is kept as a dead letter. Nothing in a row raises."""
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
    # Short texts are not asked, as a call for each of them would be a tenth of all that reading costs.
    if (key and len(key) > MOST and is_deep(key, key_values)) or (data and len(data) > MOST and is_deep(data, values)):
        key_values = values = None
        flaw = TOO_DEEP
    if values and op != "send" and "unreadable" in values:
        # Capture records a change also where it can't read all of it, since no writer may fail.
        flaw = f"capture could not read the row: {values['unreadable']}"
    if at is None:
        at, flaw = NO_TIME, flaw or "its time is beyond the years 1 to 9999"
    return Event(number, watch, op, key_values, values, context, at, xid, (), flaw)


def is_wide(row: Row) -> bool:
    """Whether its values are still in the database."""
    return row[_ELSEWHERE] is not None


def weight(rows: Sequence[Row]) -> int | None:
    """Characters that their values take; None when some of the rows are wide."""
    # By column, which costs a fifth of what it does row by row.
    columns = tuple(zip(*rows, strict=True))
    if any(columns[_ELSEWHERE]):
        return None
    return sum(sum(map(len, filter(None, columns[index]))) for index in _VALUES)


def place(row: Row) -> tuple[int, str, str]:
    """Where a wide row's values are: bytes on disk, slot and ctid."""
    size, slot, ctid = row[_ELSEWHERE].split()
    return int(size), slot, ctid


def first_wide(rows: Sequence[Row], room: int) -> Sequence[Row]:
    """The wide rows at the beginning of `rows` that are certain to have room; at least one."""
    count = 0
    for row in takewhile(is_wide, rows):
        room -= place(row)[0] * _COMPRESSED
        if room < 0:
            break
        count += 1
    return rows[: max(count, 1)]


def filled(row: Row, values: Sequence[str | None]) -> Row:
    """A wide row with its values."""
    return (row[0], *values, row[6], row[7], None)


def too_long(row: Row) -> Row:
    """A wide row whose values nobody can take: it has none."""
    return (row[0], "", "", _TOO_LONG, None, None, row[6], row[7], None)
