"""The declarations of a project: those of its apps' `watches.py`, then those of the setting BRIDGE_WATCHES."""

import inspect
from collections.abc import Callable, Mapping
from pathlib import Path
from types import FrameType
from typing import Any, TypeVar, Unpack

from django.conf import settings
from django.db import models
from django.utils.module_loading import autodiscover_modules

from django_app.declarations.declaration import Declaration, NamedTask, Rule
from django_app.project import load_tasks

T = TypeVar("T")

_in_code: list[Declaration] = []
_on_shadow: list[Callable[[], None]] = []


def watch(table: type[models.Model] | str, *, task: NamedTask | str, **rule: Unpack[Rule]) -> None:
    """Declares a watch: when rows of this table change, call this task.

        watch(Product, task=reprice, on=["update"], columns=["price"])

    `table` is a model, or the name of a table in SQL; `task` is a Celery task, or its name. Columns are named by field
    or by column. Nothing is looked up here, so a system check reports a mistake, and not a traceback.
    """
    frame = inspect.currentframe()
    caller = frame.f_back if frame else None
    _add(Declaration(table, task, rule, _place(caller) if caller else "watch()"))


def on_change(table: type[models.Model] | str, **rule: Unpack[Rule]) -> Callable[[T], T]:
    """Declares a watch beside its task, with the same options as `watch`. It stands under the task's own decorator:

    @shared_task
    @on_change(Product, columns=["price"])
    def reprice(product_id): ...
    """
    frame = inspect.currentframe()
    caller = frame.f_back if frame else None
    origin = _place(caller) if caller else "on_change()"

    def declare(task: T) -> T:
        _add(Declaration(table, task, rule, origin))
        return task

    return declare


def autodiscover() -> None:
    """Imports the module `watches` of every installed app, as Django's admin imports `admin`."""
    autodiscover_modules("watches")


def declared() -> list[Declaration]:
    """Returns all declarations of the project."""
    load_tasks()  # a declaration beside a task exists only after the task's module is imported
    return [*_in_code, *_in_settings()]


def shadowed() -> list[Declaration]:
    """Returns the declarations with the option `shadow`, as far as their modules are imported."""
    return [declaration for declaration in (*_in_code, *_in_settings()) if declaration.rule.get("shadow")]


def when_shadowed(call: Callable[[], None]) -> None:
    """Calls this now if a declaration has the option `shadow`, and again whenever one is added that has it."""
    if call not in _on_shadow:
        _on_shadow.append(call)
    if shadowed():
        call()


def _add(declaration: Declaration) -> None:
    _in_code.append(declaration)
    if declaration.rule.get("shadow"):
        for call in _on_shadow:
            call()


def _place(caller: FrameType) -> str:
    """Returns file and line of a call; the file is relative to the folder that its module is imported from."""
    file = Path(caller.f_code.co_filename)
    module = str(caller.f_globals.get("__name__", "")).split(".")
    depth = len(module) + (file.stem == "__init__")
    return f"{'/'.join(file.parts[-depth:])}:{caller.f_lineno}"


def _in_settings() -> list[Declaration]:
    entries = getattr(settings, "BRIDGE_WATCHES", [])
    if not isinstance(entries, list | tuple):
        entries = [entries]
    return [_from_entry(entry, f"BRIDGE_WATCHES[{number}]") for number, entry in enumerate(entries)]


def _from_entry(entry: Any, origin: str) -> Declaration:
    rule: dict[str, Any] = dict(entry) if isinstance(entry, Mapping) else {}
    return Declaration(rule.pop("table", None), rule.pop("task", None), rule, origin)
