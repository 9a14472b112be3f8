"""Literal: a value as SQL text, in a form that every session reads alike."""

import json
from collections.abc import Callable
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum
from ipaddress import IPv4Address, IPv6Address
from typing import Any
from uuid import UUID

from django.utils import timezone
from psycopg import Binary, sql
from psycopg.types.json import Json, Jsonb
from psycopg.types.range import Range


def literal(value: Any) -> str:
    """Returns the SQL for a value; raises TypeError for a type that has none here.

    A text stands between plain quotes: triggers.sql refuses E'' strings, and keeps a backslash as it is.
    """
    if isinstance(value, Enum):
        value = value.value
    for kind, write in _WRITERS.items():
        if isinstance(value, kind):
            return write(value)
    if value is None:
        return "NULL"
    raise TypeError(f"a value of type {type(value).__name__} can't be written into a condition")


def _text(value: str) -> str:
    if "\0" in value:
        raise ValueError("a text with the character NUL can't be in a condition")
    if not value.isascii() and any("\ud800" <= each <= "\udfff" for each in value):
        raise ValueError("a text with half a character can't be in a condition")
    return "'" + value.replace("'", "''") + "'"


def _array(values: list[Any] | tuple[Any, ...]) -> str:
    if all(isinstance(each, str) for each in values):
        quoted = ",".join('"' + each.replace("\\", "\\\\").replace('"', '\\"') + '"' for each in values)
        return f"{_text('{' + quoted + '}')}::text[]"
    return f"ARRAY[{', '.join(literal(each) for each in values)}]"


def _json(value: Json | Jsonb) -> str:
    dumps: Callable[[Any], str | bytes] = value.dumps or json.dumps
    text = dumps(value.obj)
    return f"{_text(text if isinstance(text, str) else text.decode())}::jsonb"


def _datetime(value: datetime) -> str:
    """Returns the literal. A time without a zone is in that of the settings: the zones of sessions may differ."""
    if value.tzinfo is None:
        value = timezone.make_aware(value, timezone.get_default_timezone())
    return f"{_text(value.isoformat(sep=' '))}::timestamptz"


def _range(value: "Range[Any]") -> str:
    """Returns the literal. Its type is that of the column, which Django writes behind the value."""
    bounds = (value.lower, value.upper)
    if any(isinstance(bound, datetime) and bound.tzinfo is None for bound in bounds):
        zone = timezone.get_default_timezone()
        lower, upper = (bound and timezone.make_aware(bound, zone) for bound in bounds)
        value = Range(lower, upper, value.bounds)
    return sql.Literal(value).as_string(None)


# In this order: a datetime is a date too, and a bool is an int.
_WRITERS: dict[Any, Callable[[Any], str]] = {
    bool: lambda value: "TRUE" if value else "FALSE",
    int: lambda value: f"({int(value)})" if value < 0 else str(int(value)),
    float: lambda value: f"{_text(repr(float(value)))}::float8",
    Decimal: lambda value: f"{_text(str(value))}::numeric",
    str: lambda value: _text(str(value)),
    datetime: _datetime,
    date: lambda value: f"{_text(value.isoformat())}::date",
    time: lambda value: f"{_text(value.isoformat())}::time",
    timedelta: lambda value: f"{_text(f'{value.days} days {value.seconds}.{value.microseconds:06} seconds')}::interval",
    UUID: lambda value: f"{_text(str(value))}::uuid",
    (bytes, bytearray, memoryview): lambda value: f"{_text(chr(92) + 'x' + value.hex())}::bytea",
    Binary: lambda value: literal(value.obj),
    (IPv4Address, IPv6Address): lambda value: f"{_text(str(value))}::inet",
    Range: _range,
    (Json, Jsonb): _json,
    (list, tuple): _array,
}
