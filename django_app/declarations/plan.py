"""The plan: how the watches in the database differ from the declared ones, and the changes that this requires."""

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from django.db import DatabaseError, OperationalError, transaction
from django.db.backends.base.base import BaseDatabaseWrapper

from bridge.change import Change
from bridge.database.statement import statement
from django_app.database import sentence
from django_app.project import load_app, source

Definition = dict[str, Any]  # one object of the array that bridge.plan() and bridge.apply() take

# Django's connection has the project's search_path, which may contain objects that other roles have planted. So these
# statements write each function, operator and type with its schema (docs/decisions/0013-nothing-planted-runs.md).
_CHANGES = statement("find_changes", "django_app")
_LOCK = statement("lock_tables", "django_app")
_VANISHED = statement("find_vanished", "django_app")
_APPLY = statement("apply_watches", "django_app")
_REMOVE = statement("remove_watch", "django_app")


@dataclass(frozen=True)
class Plan:
    changes: list[Change] = field(default_factory=list)
    later: dict[str, str] = field(default_factory=dict)
    """Watches that can't be installed yet, each with the reason."""
    broken: dict[str, str] = field(default_factory=dict)
    """Watches that PostgreSQL or triggers.sql refuses, each with the reason. An installed one continues as it was."""

    def __bool__(self) -> bool:
        """Whether anything differs."""
        return bool(self.changes or self.later or self.broken)

    def lines(self) -> list[str]:
        """Returns the plan as a person reads it, as a diff."""
        changes = [line for change in self.changes for line in (*change.lines(), *_noted(change))]
        later = [f"NOT INSTALLED {name}: {reason}" for name, reason in self.later.items()]
        return changes + later + [f"broken {name}: {reason}" for name, reason in self.broken.items()]


def compare(connection: BaseDatabaseWrapper, wanted: list[Definition], origins: Mapping[str, str]) -> Plan:
    """Returns the plan for these definitions; `origins` maps the name of each watch to the place of its declaration."""
    later: dict[str, str] = {}
    changes: list[Change] = []
    broken: dict[str, str] = {}

    def ask(definition: Definition) -> None:
        with connection.cursor() as cursor:
            cursor.execute(_CHANGES, {"wanted": json.dumps([definition])})
            for action, name, old, new in cursor:
                change = Change(action, name, _read(old), _read(new))
                if action == "later":
                    later[name] = (
                        f"{change.reason}. Migrate its app, correct the name, or remove the watch in {origins[name]}"
                    )
                else:
                    changes.append(change)

    for definition in wanted:
        refused = _try(connection, definition, ask)
        broken |= {name: f"{reason}; it is declared in {origins[name]}" for name, reason in refused.items()}
    with connection.cursor() as cursor:
        # A watch whose table is missing is still declared, so it has not vanished.
        declared = json.dumps([definition["name"] for definition in wanted])
        cursor.execute(_VANISHED, {"source": source(), "declared": declared})
        changes += [Change("remove", name, _read(before), None) for name, before in cursor]
    return Plan(changes, later, broken)


def execute(connection: BaseDatabaseWrapper, wanted: list[Definition], plan: Plan) -> dict[str, str]:
    """Makes the changes of the plan; returns the refused ones with the reasons. Refused watches stay as they were."""
    removed = [change.name for change in plan.changes if change.action == "remove"]
    changed = {change.name for change in plan.changes} - set(removed)
    made = [definition for definition in wanted if definition["name"] in changed]
    broken: dict[str, str] = {}

    def apply(definition: Definition) -> None:
        with connection.cursor() as cursor:
            cursor.execute(_APPLY, {"wanted": json.dumps([definition])})

    with connection.cursor() as cursor:
        cursor.execute(_LOCK, {"removed": json.dumps(removed), "made": json.dumps(made)})
        for definition in made:
            broken |= _try(connection, definition, apply)
        for name in removed:
            cursor.execute(_REMOVE, {"name": name})
    return broken


def _try(connection: BaseDatabaseWrapper, definition: Definition, do: Callable[[Definition], None]) -> dict[str, str]:
    """Runs a step for one watch; returns the error as {name: reason}, so that it does not affect other watches."""
    try:
        with transaction.atomic(using=connection.alias):
            do(definition)
    except OperationalError:
        raise  # the connection or a lock failed, not the watch
    except DatabaseError as error:
        name = definition["name"]
        # All places that show the reason write the name before it.
        return {name: sentence(error).removeprefix(f'watch "{name}": ')}
    return {}


def doubt(change: Change) -> str | None:
    """Returns a sentence if another project on this database may have declared the watch that would be removed."""
    task = change.before["task"] if change.action == "remove" and change.before else None
    app = load_app() if task else None
    if app is None or task in app.tasks:
        return None
    return (
        f"The project has no task {task}: if another project on this database declares this watch, give each project "
        "its own BRIDGE_PROJECT"
    )


def _noted(change: Change) -> Iterator[str]:
    if said := doubt(change):
        yield f"  ! {said}."


def _read(text: str | None) -> Definition | None:
    # Django's connection returns jsonb as text, since its JSONField decodes it.
    if text is None:
        return None
    found: Definition = json.loads(text)
    return found
