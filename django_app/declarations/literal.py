"""Literal: a value as SQL text, in a form that every session reads alike."""

import json
from collections.abc import Callable
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum
from typing import Any
from uuid import UUID

from psycopg.types.json import Json, Jsonb


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


# In this order: a datetime is a date too, and a bool is an int.
_WRITERS: dict[Any, Callable[[Any], str]] = {
    bool: lambda value: "TRUE" if value else "FALSE",
    int: lambda value: f"({int(value)})" if value < 0 else str(int(value)),
    float: lambda value: f"{_text(repr(float(value)))}::float8",
    Decimal: lambda value: f"{_text(str(value))}::numeric",
    str: lambda value: _text(str(value)),
    datetime: lambda value: (
        _text(value.isoformat(sep=" ")) + ("::timestamp" if value.tzinfo is None else "::timestamptz")
    ),
    date: lambda value: f"{_text(value.isoformat())}::date",
    time: lambda value: f"{_text(value.isoformat())}::time",
    timedelta: lambda value: f"{_text(f'{value.days} days {value.seconds}.{value.microseconds:06} seconds')}::interval",
    UUID: lambda value: f"{_text(str(value))}::uuid",
    bytes: lambda value: f"{_text(chr(92) + 'x' + value.hex())}::bytea",
    (Json, Jsonb): _json,
    (list, tuple): _array,
}
