"""The plan: how the watches in the database differ from the declared ones, and what is done about it."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from django.db.backends.base.base import BaseDatabaseWrapper

from django_app.declaration import SOURCE

Definition = dict[str, Any]  # one object of the array that bridge.plan() and bridge.apply() take

# What a watch needs and the database hasn't got, or not yet: its table, or columns of it.
_MISSING = """
    select
        w ->> 'name',
        w ->> 'relation',
        to_regclass(w ->> 'relation') is null,
        array(
            select distinct c
            from jsonb_array_elements_text(
                coalesce(w -> 'columns', '[]') || coalesce(w -> 'key', '[]') || coalesce(w -> 'data', '[]')
            ) as c
            where c not in (select attname from pg_attribute where attrelid = to_regclass(w ->> 'relation'))
            order by c
        )
    from jsonb_array_elements(%s::jsonb) as w
"""
_DIFFERENT = "select action, name, before, after from bridge.plan(%s::jsonb) where action <> 'keep'"
_VANISHED = """
    select name, to_jsonb(w) - '{fingerprint,changed_at,removed_at}'::text[]
    from bridge.watch as w
    where removed_at is null and options ->> 'source' = %s and name <> all (%s)
    order by name
"""


@dataclass(frozen=True)
class Change:
    action: str
    """install, upgrade (of triggers.sql); create, replace, repair, remove (of a watch)."""
    name: str
    before: Definition | None
    after: Definition | None

    def lines(self) -> Iterator[str]:
        yield f"{self.action} {self.name}"
        before, after = self.before or {}, self.after or {}
        for key in sorted(before.keys() | after.keys()):
            if key != "name" and before.get(key) != after.get(key):
                if before.get(key) is not None:
                    yield f"  - {key}: {json.dumps(before[key])}"
                if after.get(key) is not None:
                    yield f"  + {key}: {json.dumps(after[key])}"


@dataclass(frozen=True)
class Plan:
    changes: list[Change]
    later: dict[str, str]
    """Watches that can't be installed yet, each with the reason."""

    def __bool__(self) -> bool:
        """Whether anything differs."""
        return bool(self.changes or self.later)

    def lines(self) -> list[str]:
        """For people, as a diff."""
        changes = [line for change in self.changes for line in change.lines()]
        return changes + [f"later {name}: {reason}" for name, reason in self.later.items()]


def compare(connection: BaseDatabaseWrapper, wanted: list[Definition]) -> Plan:
    later = _later(connection, wanted)
    with connection.cursor() as cursor:
        cursor.execute(_DIFFERENT, [_ready(wanted, later)])
        changes = [Change(action, name, _read(before), _read(after)) for action, name, before, after in cursor]
        # A watch that waits for its table is declared all the same, so it has not vanished.
        cursor.execute(_VANISHED, [SOURCE, [definition["name"] for definition in wanted]])
        changes += [Change("remove", name, _read(before), None) for name, before in cursor]
    return Plan(changes, later)


def execute(connection: BaseDatabaseWrapper, wanted: list[Definition], plan: Plan) -> None:
    with connection.cursor() as cursor:
        cursor.execute("select count(*) from bridge.apply(%s::jsonb)", [_ready(wanted, plan.later)])
        for change in plan.changes:
            if change.action == "remove":
                cursor.execute("select bridge.unwatch(%s)", [change.name])


def _later(connection: BaseDatabaseWrapper, wanted: list[Definition]) -> dict[str, str]:
    later: dict[str, str] = {}
    with connection.cursor() as cursor:
        cursor.execute(_MISSING, [json.dumps(wanted)])
        for name, relation, no_table, columns in cursor:
            if no_table:
                later[name] = f"there is no table {relation} yet"
            elif columns:
                later[name] = f"table {relation} has no column {', '.join(columns)} yet"
    return later


def _ready(wanted: list[Definition], later: dict[str, str]) -> str:
    return json.dumps([definition for definition in wanted if definition["name"] not in later])


def _read(text: str | None) -> Definition | None:
    # Django leaves jsonb as text, since its JSONField decodes.
    if text is None:
        return None
    found: Definition = json.loads(text)
    return found
