"""Changes of a table's columns, clause by clause: their SQL, and the table after each clause."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Protocol

from tests.model.kind import TO_TEXT, VALUE_KINDS, WIDER
from tests.model.table import Column, Table, identifier

Clause = tuple[str, Table]
_KINDS = {kind.type: kind for kind in VALUE_KINDS}


class Alteration(Protocol):
    @property
    def column(self) -> str | None:
        """The column that is dropped or gets another type. PostgreSQL refuses that if a trigger names the column."""
        ...

    @property
    def rewrites(self) -> bool:
        """Whether PostgreSQL rewrites all rows. Transactions with an older snapshot can't see rewritten rows."""
        ...

    def clauses(self, table: Table, number: int) -> Iterator[Clause]:
        """Yields the clauses, or nothing if the change makes no sense on this table. `number` is unique."""
        ...


@dataclass(frozen=True)
class Rename:
    name: str
    label: str
    successor: Column | None
    """The column that takes over the old name."""
    column = None
    rewrites = False

    def clauses(self, table: Table, number: int) -> Iterator[Clause]:
        if not table.has(self.name) or _is_taken(table, self.label):
            return
        old = table.column(self.name)
        table = table.change(self.name, _called(self.label))
        yield f"rename {old.sql} to {identifier(self.label)}", table
        if self.successor is not None:
            yield _add(table, replace(self.successor, label=old.label), number)


@dataclass(frozen=True)
class Swap:
    first: str
    second: str
    column = None
    rewrites = False

    def clauses(self, table: Table, number: int) -> Iterator[Clause]:
        if self.first == self.second or not table.has(self.first) or not table.has(self.second):
            return
        one, two = table.column(self.first), table.column(self.second)
        for name, label in ((one.name, "between"), (two.name, one.label), (one.name, two.label)):
            sql = table.column(name).sql
            table = table.change(name, _called(label))
            yield f"rename {sql} to {identifier(label)}", table


@dataclass(frozen=True)
class Add:
    fresh: Column
    column = None
    rewrites = False

    def clauses(self, table: Table, number: int) -> Iterator[Clause]:
        if not _is_taken(table, self.fresh.label):
            yield _add(table, self.fresh, number)


@dataclass(frozen=True)
class Drop:
    column: str
    successor: Column | None
    """The column that takes over the name."""
    rewrites = False

    def clauses(self, table: Table, number: int) -> Iterator[Clause]:
        if len(table.values) < 2 or all(c.name != self.column for c in table.values):
            return
        old = table.column(self.column)
        table = table.without(self.column)
        yield f"drop {old.sql}", table
        if self.successor is not None:
            yield _add(table, replace(self.successor, label=old.label), number)


@dataclass(frozen=True)
class Retype:
    column: str
    to_text: bool
    rewrites = True

    def clauses(self, table: Table, number: int) -> Iterator[Clause]:
        if not table.has(self.column):
            return
        old = table.column(self.column)
        is_key = old in table.keys
        new = "text" if self.to_text and old.kind.type in TO_TEXT else WIDER.get(old.kind.type)
        if new is None or (is_key and (table.levels > 0 or new == "text")):
            return
        pool = tuple(cell.as_text() if new == "text" else cell for cell in old.pool)
        table = table.change(self.column, lambda c: replace(c, kind=_KINDS[new], pool=pool))
        yield f"alter {old.sql} type {new} using {old.sql}::{new}", table


def _called(label: str) -> Callable[[Column], Column]:
    return lambda column: replace(column, label=label)


def _is_taken(table: Table, label: str) -> bool:
    return any(c.label == label for c in table.columns)


def _add(table: Table, fresh: Column, number: int) -> Clause:
    # The name is unique, because this column differs from all earlier ones.
    fresh = replace(fresh, name=f"{fresh.label} {number}")
    default = "" if fresh.default.text is None else f" default {fresh.default.sql(fresh.kind.type)}"
    return f"add {fresh.sql} {fresh.kind.type}{default}", table.with_column(fresh)
