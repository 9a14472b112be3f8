"""Row: an event as the database says it (look.sql, rest.sql), one by one made into Events."""

from collections.abc import Sequence
from typing import Any

import msgspec

from bridge.event import NO_TIME, Event
from bridge.nesting import TOO_DEEP, is_deep
from bridge.reason import reason

# id, watch, op, key, data, context, at, xid, and of a wide row, whose values come apart: wide, slot, place
Row = tuple[Any, ...]

# Bytes in memory that a byte on disk can become where it is compressed (pglz: 273 for 3; LZ4 can do more, and is not
# known to with JSON).
_COMPRESSED = 100

_decode_key = msgspec.json.Decoder(list[Any]).decode
_decode_data = msgspec.json.Decoder(dict[str, Any]).decode


def event_of(row: Row) -> Event:
    """The event; one that can't be read has a flaw and is kept as a dead letter. Nothing in a row raises."""
    number, watch, op, key, data, context, at, xid = row[:8]
    flaw = None if at else "its time is beyond the years 1 to 9999"
    try:
        key_values = None if key is None else _decode_key(key)
        values = None if data is None else _decode_data(data)
    except (ValueError, RecursionError) as error:
        # msgspec's errors are ValueErrors.
        key_values = values = None
        flaw = f"its key or data can't be used: {reason(error)}"
    else:
        if is_deep(key or "", key_values) or is_deep(data or "", values):
            key_values = values = None
            flaw = TOO_DEEP
        elif op != "send" and values and "unreadable" in values:
            # Capture records a change also where it can't read all of it, since no writer may fail.
            flaw = f"capture could not read the row: {values['unreadable']}"
    return Event(number, watch, op, key_values, values, context, at or NO_TIME, int(xid), (), flaw)


def is_wide(row: Row) -> bool:
    """Whether its values are still in the database."""
    return row[8] is not None


def weight(row: Row) -> int:
    """Characters that its values take; asked for each row, so by index, which is half the price of unpacking."""
    return (
        len(row[1]) + (len(row[3]) if row[3] else 0) + (len(row[4]) if row[4] else 0) + (len(row[5]) if row[5] else 0)
    )


def first_wide(rows: Sequence[Row], room: int) -> Sequence[Row]:
    """The wide rows at the beginning of `rows` that are certain to have room; at least one."""
    count = 0
    while count < len(rows) and is_wide(rows[count]) and (room := room - rows[count][8] * _COMPRESSED) >= 0:
        count += 1
    return rows[: max(count, 1)]


def filled(row: Row, values: Row) -> Row:
    """A wide row with its values."""
    return (row[0], *values, row[6], row[7], None)
