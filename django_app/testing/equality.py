"""Equality of an argument as Python code writes it and as JSON carries it: a UUID is a text there, a Decimal too."""

from collections.abc import Mapping, Sequence
from datetime import date, datetime, time
from decimal import Decimal, InvalidOperation
from typing import Any
from uuid import UUID


def same(expected: Any, found: Any) -> bool:
    """Whether a task that should get `expected` gets it: `found` is what JSON makes of it."""
    if isinstance(expected, Mapping) and isinstance(found, Mapping):
        return expected.keys() == found.keys() and all(same(expected[name], found[name]) for name in expected)
    if isinstance(expected, list | tuple) and isinstance(found, list | tuple):
        return len(expected) == len(found) and all(map(same, expected, found))
    if bool(expected == found):
        return type(expected) is not bool or type(found) is bool
    return isinstance(found, str) and _same_text(expected, found)


def same_call(args: Sequence[Any], kwargs: Mapping[str, Any], found: Sequence[Any], named: Mapping[str, Any]) -> bool:
    """Whether a call has these arguments."""
    return same(list(args), list(found)) and same(kwargs, named)


def _same_text(expected: Any, found: str) -> bool:
    try:
        match expected:
            case UUID():
                return UUID(found) == expected
            case Decimal():
                return Decimal(found) == expected
            case datetime() | date() | time():
                return bool(type(expected).fromisoformat(found) == expected)
            case bytes() | memoryview():
                return found == f"\\x{bytes(expected).hex()}"
            case _:
                return False
    except (ValueError, InvalidOperation, TypeError):
        return False
