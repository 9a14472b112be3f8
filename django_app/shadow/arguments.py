"""Arguments: those of a task in the order of its parameters, as JSON has them, and the name of the row that they mean.

A row is named in many ways: the key 1.50 of an event is the argument Decimal("1.5") or "1.50".
"""

import inspect
import json
import re
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, date, datetime, time, timedelta
from decimal import Context, Decimal
from enum import Enum
from functools import lru_cache
from typing import Any
from uuid import UUID

_MOST_ARGUMENTS = 10
_MOST_CHARACTERS = 1000
_LONGEST = 300
# No other value is asked for its text: that of a model's instance or of a QuerySet may need the database.
_HAVE_TEXT = (str, Decimal, UUID, date, time, timedelta)

_NUMBER = re.compile(r"[+-]?[0-9]{1,200}(\.[0-9]{1,200})?([eE][+-]?[0-9]{1,3})?", re.ASCII)
_UUID = re.compile(r"[0-9a-f]{8}-?([0-9a-f]{4}-?){3}[0-9a-f]{12}", re.IGNORECASE)
_MOMENT = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}[T ][0-9]{2}:.*", re.ASCII)
_EXACT = Context(prec=2000)


def ordered(function: Callable[..., Any] | None, args: Sequence[Any], kwargs: Mapping[str, Any]) -> list[Any]:
    """Returns the values in the order of the function's parameters, as a watch would give them; then the others."""
    rest = dict(kwargs)
    values = list(args)
    for name, default in _parameters(function)[len(values) :] if function else ():
        if name not in rest and default is inspect.Parameter.empty:
            break
        values.append(rest.pop(name, default))
    return [*values, *rest.values()]


@lru_cache(256)
def _parameters(function: Callable[..., Any]) -> list[tuple[str, Any]]:
    try:
        known = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):
        return []
    return [(each.name, each.default) for each in known if each.kind is each.POSITIONAL_OR_KEYWORD]


def as_json(values: Sequence[Any]) -> list[Any]:
    """Returns the first values as JSON has them. One that can't be a part of a key is null."""
    plain = [_plain(value) for value in values[:_MOST_ARGUMENTS]]
    while len(json.dumps(plain)) > _MOST_CHARACTERS:
        plain.pop()
    return plain


def _plain(value: Any) -> Any:
    if isinstance(value, Enum):
        value = value.value
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, int) and abs(value) < 10**_LONGEST:
        return int(value)
    if isinstance(value, float):
        return float(value) if abs(value) < float("inf") else None
    if isinstance(value, _HAVE_TEXT) and len(text := str(value)) <= _LONGEST:
        return text
    return None


def row_name(values: Sequence[Any], like: Sequence[Any]) -> tuple[str, ...]:
    """Returns a name for the row that these values mean; `like` is the key of an event of the same table."""
    return tuple(
        _name(str(value), isinstance(key, int | Decimal) and not isinstance(key, bool))
        for value, key in zip(values, like, strict=False)
    )


def _name(text: str, is_number: bool) -> str:
    if is_number:
        return f"{_EXACT.normalize(Decimal(text)):f}" if _NUMBER.fullmatch(text) else text
    if _UUID.fullmatch(text):
        return text.replace("-", "").lower()
    if _MOMENT.fullmatch(text):
        return _moment(text)
    return text


def _moment(text: str) -> str:
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        return text
    return (at.astimezone(UTC) if at.tzinfo else at).isoformat()
