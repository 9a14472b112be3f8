"""Typed event: the dict that a task gets, with each value as the field of the model has it in Python."""

import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

from django.apps import apps
from django.conf import settings
from django.db import connections, models
from django.utils import timezone

from bridge.task import Event
from django_app.database import alias
from django_app.declarations import registry
from django_app.errors import DeclarationError

_INTERVAL = re.compile(
    r"P(?:(-?\d+)Y)?(?:(-?\d+)M)?(?:(-?\d+)D)?(?:T(?:(-?\d+)H)?(?:(-?\d+)M)?(?:(-?\d+(?:\.\d+)?)S)?)?"
)


class Row:
    """The values of a row that the event carries: `row.price`, `row["price"]`. Each is converted when it is read."""

    def __init__(self, model: type[models.Model], values: Mapping[str, Any]) -> None:
        self._values = values
        self._fields = {
            name: field for field in model._meta.concrete_fields for name in (field.name, field.attname, field.column)
        }

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        try:
            return self[name]
        except KeyError as error:
            raise AttributeError(error.args[0]) from None

    def __getitem__(self, name: str) -> Any:
        field = self._fields.get(name)
        column = name if field is None else str(field.column)
        if column not in self._values:
            said = ", ".join(self) or "none"
            raise KeyError(f'the event does not carry "{name}"; it has: {said}. Add it to `data` of the watch')
        return self._values[column] if field is None else python_value(field, self._values[column])

    def __iter__(self) -> Iterator[str]:
        """Iterates over the names of the columns."""
        return iter(self._values)

    def __repr__(self) -> str:
        return f"Row({dict(self._values)!r})"


@dataclass(frozen=True)
class TypedEvent:
    """The argument of a task with `call = "event"`, with Python's types."""

    id: int
    watch: str
    operation: str
    key: tuple[Any, ...] | None
    old_key: tuple[Any, ...] | None
    old: Row | None
    new: Row | None
    changed: tuple[str, ...]
    at: datetime
    context: Any
    model: type[models.Model]


def event(argument: Event | Mapping[str, Any], model: type[models.Model] | str | None = None) -> TypedEvent:
    """Returns the event with typed values. The model is that of the declared watch, unless it is named here."""
    if isinstance(model, str):
        model = apps.get_model(model)
    found, key_names = _declared(argument["watch"]) if model is None else (model, None)
    keys = _key_fields(found, key_names)
    return TypedEvent(
        id=argument["id"],
        watch=argument["watch"],
        operation=argument["operation"],
        key=_typed(keys, argument["key"]),
        old_key=_typed(keys, argument["old_key"]),
        old=None if argument["old"] is None else Row(found, argument["old"]),
        new=None if argument["new"] is None else Row(found, argument["new"]),
        changed=tuple(argument["changed"] or ()),
        at=datetime.fromisoformat(argument["at"]),
        context=argument["context"],
        model=found,
    )


def python_value(field: Any, value: Any) -> Any:
    """Returns what the model's field would have for this value of the column. Ranges stay text."""
    kind = field.get_internal_type()
    if value is None or kind.endswith("RangeField"):
        return value
    if isinstance(value, list) and hasattr(field, "base_field"):  # ArrayField, which needs django.contrib.postgres
        return [python_value(field.base_field, one) for one in value]
    if isinstance(field, models.ForeignKey):
        return python_value(field.target_field, value)
    # What the driver would return, if need be by Django's own field of this kind.
    read = _DRIVER.get(kind)
    value = value if read is None else read(value)
    from_db = getattr(field, "from_db_value", None)
    if from_db is None:
        return _local(field.to_python(value))
    own: Any = getattr(models, kind, models.Field)
    return from_db(_local(own.to_python(field, value)) if read is None else value, None, connections[alias()])


def _duration(text: str) -> timedelta:
    """Returns an interval as the driver reads it. Django reads no interval with a sign inside ("P-1DT2H")."""
    found = _INTERVAL.fullmatch(text)
    if found is None:
        raise ValueError(f"{text!r} is not an interval")
    years, months, days, hours, minutes = (int(part or 0) for part in found.groups()[:5])
    seconds = Decimal(found[6] or 0)
    return timedelta(
        days=365 * years + 30 * months + days, hours=hours, minutes=minutes, microseconds=int(seconds * 1_000_000)
    )


_DRIVER: dict[str, Callable[[Any], Any]] = {
    "BinaryField": lambda text: bytes.fromhex(text.removeprefix("\\x")),
    "DurationField": _duration,
    "JSONField": json.dumps,
}


def _local(value: Any) -> Any:
    """Returns a time as Django returns it from the database: without a zone if USE_TZ is off."""
    if isinstance(value, datetime) and timezone.is_aware(value) and not settings.USE_TZ:
        return timezone.make_naive(value)
    return value


def _typed(fields: list[Any], values: list[Any] | None) -> tuple[Any, ...] | None:
    if values is None:
        return None
    if len(fields) != len(values):
        return tuple(values)
    return tuple(python_value(field, value) if field else value for field, value in zip(fields, values, strict=True))


def _key_fields(model: type[models.Model], names: list[str] | None) -> list[Any]:
    options: Any = model._meta
    if names is None:
        return list(getattr(options, "pk_fields", None) or [options.pk])
    known = {name: field for field in options.concrete_fields for name in (field.name, field.attname, field.column)}
    return [options.pk if name == "pk" else known.get(name) for name in names]


def _declared(watch: str) -> tuple[type[models.Model], list[str] | None]:
    for declaration in registry.declared():
        try:
            name = declaration.name
        except DeclarationError:
            continue
        if name == watch and isinstance(declaration.table, type):
            key = declaration.rule.get("key")
            return declaration.table, None if key is None else list(key)
    raise LookupError(f'no model is declared for the watch "{watch}"; name it: event(argument, Product)')
