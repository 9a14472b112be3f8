"""Difference: what an event changed, as far as its watch records values."""

from dataclasses import dataclass
from typing import Any

from django_app.admin.show import one_line

_ABSENT = object()


@dataclass(frozen=True)
class Difference:
    """One column. None: the event does not have this value."""

    column: str
    old: str | None
    new: str | None
    is_changed: bool


def differences(data: Any) -> list[Difference]:
    """Returns the recorded columns, the changed ones first."""
    if not isinstance(data, dict):
        return []
    old, new, changed = _dict(data.get("old")), _dict(data.get("new")), _list(data.get("changed"))
    columns = dict.fromkeys([*old, *new, *changed])
    found = [
        Difference(column, _text(old, column), _text(new, column), _is_changed(column, old, new, changed))
        for column in columns
    ]
    return sorted(found, key=lambda each: not each.is_changed)


def _is_changed(column: str, old: dict[str, Any], new: dict[str, Any], changed: list[str]) -> bool:
    return column in changed or old.get(column, _ABSENT) != new.get(column, _ABSENT)


def _text(values: dict[str, Any], column: str) -> str | None:
    return one_line(values[column]) if column in values else None


def _dict(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _list(value: Any) -> list[str]:
    return [each for each in value if isinstance(each, str)] if isinstance(value, list) else []
