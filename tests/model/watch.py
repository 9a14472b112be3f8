"""Watches: the events that a change of a row, or a truncate, must become."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

from tests.model.condition import Condition
from tests.model.kind import canonical, quoted
from tests.model.table import Row, Table

Operation = Literal["insert", "update", "delete", "truncate"]


@dataclass(frozen=True)
class Change:
    """A change of one row or, without both versions, a truncate of a table."""

    table: Table
    op: Operation
    old: Row | None = None
    new: Row | None = None


@dataclass(frozen=True)
class Event:
    """An event. `key` and `data` are canonical JSON."""

    stream: str
    watch: str
    op: str
    key: str | None
    data: str | None
    context: str | None


@dataclass(frozen=True)
class Watch:
    name: str
    table: Table
    operations: tuple[Operation, ...]
    columns: tuple[str, ...] | None
    condition: Condition | None
    key: tuple[str, ...] | None
    data: tuple[str, ...] | None
    whole_event: bool
    """Whether the option "call" is "event"."""
    may_skip: bool
    unchanged: bool
    """Whether updates that change nothing count too."""
    stream: str
    known: Mapping[str, str]
    """The names of the columns when the watch was made or last followed a change. Its events use these names."""

    def sql(self) -> str:
        options: dict[str, Any] = {}
        if self.whole_event:
            options["call"] = "event"
        if self.may_skip:
            options["may_skip"] = True
        if self.unchanged:
            options["unchanged"] = True
        condition = "null" if self.condition is None else quoted(self.condition.sql())
        return (
            f"select bridge.watch({quoted(self.name)}, {quoted(self.table.sql)}, 'shop.tasks.touch',"
            f" operations => {_names(self.operations)}, columns => {_names(self.columns)}, condition => {condition},"
            f" key => {_names(self.key)}, data => {_names(self.data)},"
            f" options => {quoted(json.dumps(options))}, stream => {quoted(self.stream)})"
        )

    def names_in_triggers(self) -> set[str]:
        """Returns the columns that can't be dropped or get another type without `bridge.alter`."""
        return {*(self.columns or ())} | (set() if self.condition is None else self.condition.columns)

    def follow(self, table: Table) -> "Watch":
        """Returns the watch after `bridge.alter`."""

        def left(names: tuple[str, ...] | None) -> tuple[str, ...] | None:
            return tuple(n for n in names or () if table.has(n)) or None

        condition = self.condition if self.condition and all(map(table.has, self.condition.columns)) else None
        known = {c.name: c.label for c in table.columns}
        return replace(self, columns=left(self.columns), data=left(self.data), condition=condition, known=known)

    def events(self, change: Change, context: str | None, capture: bool) -> Iterator[Event]:
        if change.table.name != self.table.name or (self.may_skip and not capture):
            return
        for seen in _as_seen_by_triggers(change):
            if seen.op in self.operations and self._matches(seen):
                key, data = self._key(seen), self._data(seen)
                yield Event(
                    self.stream,
                    self.name,
                    seen.op,
                    None if key is None else canonical(key),
                    canonical(data) if data else None,
                    context or None,
                )

    def _matches(self, change: Change) -> bool:
        if change.op == "truncate":
            return True
        if change.op == "update" and not self.unchanged:
            looked_at = self.columns if self.columns is not None else tuple(c.name for c in change.table.columns)
            if not _changed(change, looked_at):
                return False
        return self.condition is None or self.condition.holds(change.old, change.new) is True

    def _key(self, change: Change) -> list[Any] | None:
        row = change.new or change.old
        return None if row is None else self._key_of(change.table, row)

    def _key_of(self, table: Table, row: Row) -> list[Any]:
        return [row[name].json if table.has(name) else None for name in self._key_names]

    @property
    def _key_names(self) -> tuple[str, ...]:
        return self.key or tuple(c.name for c in self.table.keys)

    def _data(self, change: Change) -> dict[str, Any]:
        table = change.table
        data: dict[str, Any] = {}
        if self.data is not None:
            for version, row in (("old", change.old), ("new", change.new)):
                if row is not None:
                    data[version] = {self.known[name]: row[name].json for name in self.data if table.has(name)}
        if change.op == "update" and change.old is not None:
            if self.data is not None or self.whole_event:
                data["changed"] = sorted(self._changed_names(change))
            if _changed(change, self._key_names):
                data["old_key"] = self._key_of(table, change.old)
        gone = [name for name in self._key_names if not table.has(name)]
        if gone and change.op != "truncate":
            data["unreadable"] = "; ".join(f'the column "{self.known[name]}" of the key is gone' for name in gone)
        return data

    def _changed_names(self, change: Change) -> set[str]:
        compared = (self.columns or ()) + (self.data or ())
        if compared:
            return {self.known[name] for name in _changed(change, compared)}
        # These are all columns. A younger column that took over a name that the watch knows can't be distinguished from
        # the older one.
        now = {
            c.name: c.label for c in change.table.columns if c.name in self.known or c.label not in self.known.values()
        }
        return {self.known.get(name, label) for name, label in now.items() if _changed(change, (name,))}


def _as_seen_by_triggers(change: Change) -> Iterator[Change]:
    yield change
    if change.op == "update" and change.old and change.new and change.table.moves(change.old, change.new):
        # PostgreSQL moves a row between partitions by a delete and an insert.
        yield Change(change.table, "delete", old=change.old)
        yield Change(change.table, "insert", new=change.new)


def _changed(change: Change, names: tuple[str, ...]) -> set[str]:
    assert change.old is not None
    assert change.new is not None
    return {name for name in names if change.table.has(name) and change.old[name].text != change.new[name].text}


def _names(names: tuple[str, ...] | None) -> str:
    return "null" if names is None else f"array[{', '.join(map(quoted, names))}]"
