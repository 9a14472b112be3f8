"""Signature: whether a task takes the arguments with which its watch calls it."""

import inspect
from collections.abc import Iterator
from typing import Any

from django.db import models

from bridge.watch import Watch

_ADVICE = "Give its other parameters a default, name the columns of its arguments in `key`, or use call='event'."
_ADVICE_EVENT = "With call='event' the task gets one argument, a dict."


def complaint(task: Any, table: Any, watch: Watch) -> tuple[str, str] | None:
    """Returns what is wrong and how to mend it, or None if the task can be called, or nobody can say."""
    try:
        # A decorator may add arguments of its own, as `in_transaction_once` does: what it is called with counts.
        signature = inspect.signature(task.run, follow_wrapped=False)
    except (TypeError, ValueError):
        return None
    for names in _calls(table, watch):
        try:
            signature.bind(*names)
        except TypeError as error:
            call = f"{watch.task.rpartition('.')[2]}({', '.join(names)})"
            return f"can't be called as {call}: {error}", _ADVICE_EVENT if watch.call == "event" else _ADVICE
    return None


def _calls(table: Any, watch: Watch) -> Iterator[list[str]]:
    """Yields the arguments of each kind of call, as far as they are known."""
    if watch.call == "event":
        yield ["event"]
        return
    key = watch.key
    if key is None and isinstance(table, type) and issubclass(table, models.Model):
        key = tuple(str(field.column) for field in table._meta.pk_fields)
    if key and set(watch.on) - {"truncate"}:
        yield list(key)
    if "truncate" in watch.on:
        yield []
