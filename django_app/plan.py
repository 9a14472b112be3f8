"""The plan: how the watches in the database differ from the declared ones, and what is done about it."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from django.db.backends.base.base import BaseDatabaseWrapper

from django_app.declaration import SOURCE

Definition = dict[str, Any]  # one object of the array that bridge.plan() and bridge.apply() take

# Django's connection has the project's search_path, which may lead to what others have planted. So these statements
# write each function, operator and type with its schema (docs/decisions/0027-nothing-planted-runs.md).

# What a watch needs and the database hasn't got, or not yet: its table, or columns of it.
_MISSING = """
    select
        w operator(pg_catalog.->>) 'name'::pg_catalog.text,
        w operator(pg_catalog.->>) 'relation'::pg_catalog.text,
        r.relation is null,
        array(
            select distinct c
            from pg_catalog.jsonb_array_elements_text(
                coalesce(w operator(pg_catalog.->) 'columns'::pg_catalog.text, '[]')
                operator(pg_catalog.||) coalesce(w operator(pg_catalog.->) 'key'::pg_catalog.text, '[]')
                operator(pg_catalog.||) coalesce(w operator(pg_catalog.->) 'data'::pg_catalog.text, '[]')
            ) as c
            where not exists (
                select from pg_catalog.pg_attribute as a
                where a.attrelid operator(pg_catalog.=) r.relation and a.attname operator(pg_catalog.=) c
            )
            order by c
        )
    from pg_catalog.jsonb_array_elements(%s::pg_catalog.jsonb) as w
    cross join lateral pg_catalog.to_regclass(w operator(pg_catalog.->>) 'relation'::pg_catalog.text) as r (relation)
"""
_DIFFERENT = """
    select action, name, before, after
    from bridge.plan(%s::pg_catalog.jsonb)
    where action operator(pg_catalog.<>) 'keep'
"""
_VANISHED = """
    select name, bridge._definition(w)
    from bridge.watch as w
    where
        removed_at is null
        and (options operator(pg_catalog.->>) 'source'::pg_catalog.text) operator(pg_catalog.=) %s
        and not exists (
            select from pg_catalog.jsonb_array_elements_text(%s::pg_catalog.jsonb) as declared
            where declared operator(pg_catalog.=) name
        )
    order by name
"""
_APPLY = "select pg_catalog.count(*) from bridge.apply(%s::pg_catalog.jsonb)"
_UNWATCH = "select bridge.unwatch(%s::pg_catalog.text)"


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
        cursor.execute(_VANISHED, [SOURCE, json.dumps([definition["name"] for definition in wanted])])
        changes += [Change("remove", name, _read(before), None) for name, before in cursor]
    return Plan(changes, later)


def execute(connection: BaseDatabaseWrapper, wanted: list[Definition], plan: Plan) -> None:
    with connection.cursor() as cursor:
        cursor.execute(_APPLY, [_ready(wanted, plan.later)])
        for change in plan.changes:
            if change.action == "remove":
                cursor.execute(_UNWATCH, [change.name])


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
