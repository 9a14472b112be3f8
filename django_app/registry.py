"""The declarations of a project: its apps' `watches.py`, then the setting BRIDGE_WATCHES."""

import inspect
from collections.abc import Mapping
from typing import Any, Unpack

from django.conf import settings
from django.db import models
from django.utils.module_loading import autodiscover_modules

from django_app.declaration import Declaration, NamedTask, Rule

_in_code: list[Declaration] = []


def watch(table: type[models.Model] | str, *, task: NamedTask | str, **rule: Unpack[Rule]) -> None:
    """When rows of this table change, call this task.

        watch(Product, task=reprice, on=["update"], columns=["price"])

    `table` is a model, or the name of a table in SQL; `task` a Celery task, or its name. Columns are named
    by field or by column. Nothing is looked up here: a mistake is a system check's finding, not a traceback.
    """
    frame = inspect.currentframe()
    caller = frame.f_back if frame else None
    origin = f"{caller.f_globals.get('__name__')}:{caller.f_lineno}" if caller else "watch()"
    _in_code.append(Declaration(table, task, rule, origin))


def autodiscover() -> None:
    """Imports the module `watches` of every installed app, as the admin does with `admin`."""
    autodiscover_modules("watches")


def declared() -> list[Declaration]:
    return [*_in_code, *_in_settings()]


def _in_settings() -> list[Declaration]:
    entries = getattr(settings, "BRIDGE_WATCHES", [])
    if not isinstance(entries, list | tuple):
        entries = [entries]
    return [_from_entry(entry, f"BRIDGE_WATCHES[{number}]") for number, entry in enumerate(entries)]


def _from_entry(entry: Any, origin: str) -> Declaration:
    rule: dict[str, Any] = dict(entry) if isinstance(entry, Mapping) else {}
    return Declaration(rule.pop("table", None), rule.pop("task", None), rule, origin)
