"""One declaration: what the project wrote about a watch, and the bridge.watch.Watch that it stands for."""

import hashlib
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypedDict, get_args

import msgspec
from django.apps import apps
from django.db import models, router

from bridge.call_options import complaint
from bridge.errors import BridgeError
from bridge.scope import has_nul
from bridge.watch import Operation, Watch
from django_app.database import alias
from django_app.declarations.condition import Condition, ConditionError
from django_app.declarations.table import ModelTable, NamedTable, Table
from django_app.errors import DeclarationError
from django_app.project import source, task_of

NAME_BYTES = 47
COLUMN_KEYS: tuple[str, ...] = ("columns", "key", "data")
NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]{0,46}")
OPERATIONS = get_args(Operation)


class NamedTask(Protocol):
    """The part of a Celery task that is needed here."""

    @property
    def name(self) -> str: ...


class Rule(TypedDict, total=False):
    """The options beside table and task: the keys of bridge.toml."""

    name: str
    using: str
    on: Sequence[str]
    columns: Sequence[str]
    when: str | models.Q
    key: Sequence[str]
    data: Sequence[str]
    stream: str
    call: str
    queue: str
    priority: int
    countdown: float
    expires: float
    headers: Mapping[str, Any]
    coalesce: bool
    always: bool
    may_skip: bool
    named_only: bool
    unchanged: bool
    notify: bool
    shadow: bool
    on_error: str
    own_writes: str


@dataclass(frozen=True)
class Declaration:
    table: Any
    task: Any
    rule: Mapping[str, Any]
    origin: str  # where it was written, for messages: "catalog/watches.py:7"

    @property
    def home(self) -> str:
        """The alias of the database that has the table."""
        if using := self.rule.get("using"):
            return str(using)
        is_model = isinstance(self.table, type) and issubclass(self.table, models.Model)
        return str(router.db_for_write(self.table)) if is_model else alias()

    @property
    def name(self) -> str:
        """The name of the watch. Without the rest of it, since a task asks for it at each event. Raises
        DeclarationError."""
        name = self.rule.get("name") or default_name(self._table().label, self.task_name())
        self._check_name(name)
        return str(name)

    def watch(self) -> Watch:
        """Returns the watch that this declaration stands for; raises DeclarationError if it is wrong."""
        self._check_keys()
        rule = {key: value for key, value in self.rule.items() if value is not None and key not in ("using", "name")}
        table = self._table()
        task = self.task_name()
        name = self.name
        self._check_operations(rule.get("on"))
        names = {key: self._names(key, rule.pop(key)) for key in COLUMN_KEYS if key in rule}
        if isinstance(rule.get("when"), models.Q):
            rule["when"], names["when"] = self._condition(table, rule["when"])
        relation, columns = table.place(names)
        columns.pop("when", None)
        said = {"name": name, "table": relation, "task": task, "source": source()}
        return self._checked({**rule, **columns, **said})

    def _checked(self, values: dict[str, Any]) -> Watch:
        """Returns the watch with these values, if the database could store it and the bridge could use it."""
        try:
            watch = msgspec.convert(values, Watch)
            definition = watch.definition()
            stored = msgspec.json.decode(msgspec.json.encode(definition))
        except (BridgeError, msgspec.ValidationError, TypeError, ValueError) as error:
            raise DeclarationError("bridge.E008", self.origin, str(error).rstrip(".")) from error
        wrong = "a text in it has the character NUL" if has_nul(stored) else complaint(definition["options"])
        if wrong is not None:
            raise DeclarationError("bridge.E008", self.origin, wrong)
        return watch

    def _check_keys(self) -> None:
        unknown = sorted(set(self.rule) - set(Rule.__annotations__))
        if unknown or not self.table or not self.task:
            said = f"unknown key '{unknown[0]}'" if unknown else "a table and a task must be named"
            fix = f"Known keys: table, task, {', '.join(Rule.__annotations__)}."
            raise DeclarationError("bridge.E006", self.origin, said, fix)

    def _table(self) -> Table:
        if isinstance(self.table, str):
            if model := _by_label(self.table):
                said = f"'{self.table}' is the name of a model, not of a table"
                fix = f"Pass the model itself, or its table '{model._meta.db_table}'."
                raise DeclarationError("bridge.E007", self.origin, said, fix)
            return NamedTable(self.table)
        if isinstance(self.table, type) and issubclass(self.table, models.Model):
            return ModelTable(self.table, self.origin)
        raise DeclarationError("bridge.E007", self.origin, f"{self.table!r} is neither a model nor the name of a table")

    def _condition(self, table: Table, when: models.Q) -> tuple[str, list[str]]:
        """Returns the SQL of the condition, and the fields that it names."""
        if not isinstance(table, ModelTable):
            raise DeclarationError(
                "bridge.E011",
                self.origin,
                "a Q needs a model, and this watch names a table",
                'Write the condition as SQL over old and new, such as when="new.price > 10".',
            )
        condition = Condition(table.model, when)
        try:
            return condition.sql(), condition.fields
        except ConditionError as error:
            raise DeclarationError("bridge.E011", self.origin, f"its condition: {error}") from error

    def task_name(self) -> str:
        """Returns the full name of the task; raises DeclarationError if it is none."""
        name = self.task if isinstance(self.task, str) else getattr(self.task, "name", None) or task_of(self.task)
        if not isinstance(name, str) or not re.fullmatch(r"\S+", name):
            raise DeclarationError(
                "bridge.E009",
                self.origin,
                f"{self.task!r} is not a Celery task",
                "Pass the task itself or its full name. A function needs @shared_task or @app.task, above @on_change.",
            )
        return name

    def _check_name(self, name: Any) -> None:
        if not isinstance(name, str) or not NAME.fullmatch(name):
            raise DeclarationError(
                "bridge.E005",
                self.origin,
                f"{name!r} is not a valid name for a watch",
                f"Use 1 to {NAME_BYTES} letters, digits, '_', '.' or '-', starting with a letter or '_'.",
            )

    def _check_operations(self, on: Any) -> None:
        if on is None:
            return
        fix = f"List some of: {', '.join(OPERATIONS)}."
        if not _is_list(on) or not on:
            raise DeclarationError("bridge.E004", self.origin, f"on={on!r} is not a list of operations", fix)
        for operation in on:
            if operation not in OPERATIONS:
                raise DeclarationError("bridge.E004", self.origin, f"unknown operation {operation!r}", fix)

    def _names(self, key: str, names: Any) -> list[str]:
        if not _is_list(names) or not all(isinstance(name, str) for name in names):
            raise DeclarationError(
                "bridge.E001", self.origin, f"{key}={names!r} is not a list of names", f'Write {key}=["..."].'
            )
        return list(names)


def _is_list(value: object) -> bool:
    return isinstance(value, Collection) and not isinstance(value, str | Mapping)


def default_name(label: str, task: str) -> str:
    """Returns `<app>.<model>_<task's function>`; a name over the limit is cut, with a digest of the full name."""
    name = re.sub(r"[^A-Za-z0-9_.-]", "_", f"{label}_{task.rsplit('.', 1)[-1]}")
    if not re.match(r"[A-Za-z_]", name):
        name = f"_{name}"
    if len(name) <= NAME_BYTES:
        return name
    return f"{name[: NAME_BYTES - 9]}_{hashlib.sha256(name.encode()).hexdigest()[:8]}"


def _by_label(name: str) -> type[models.Model] | None:
    """Returns the model of a label such as "catalog.Product". In lower case it may be a schema and a table."""
    found = [model for model in apps.get_models() if model._meta.label == name] if name != name.lower() else []
    return found[0] if found else None
