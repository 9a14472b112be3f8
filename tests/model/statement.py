"""Statements: their SQL, and the rows that they change."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, Protocol

from tests.model.kind import Cell
from tests.model.table import Column, Row, Rows, Table
from tests.model.watch import Change

# "nothing" and "update" are the actions ON CONFLICT. These two and "merge" may meet existing rows.
How = Literal["values", "select", "copy", "nothing", "update", "merge"]


class Duplicate(Exception):  # noqa: N818 - PostgreSQL must raise this error; it is not an error of the model
    """The statement would make two rows of one key."""


class Statement(Protocol):
    @property
    def table(self) -> Table: ...

    def sql(self) -> str: ...

    def on(self, table: Table) -> "Statement | None":
        """Returns the statement for the table as it is now, or None if nothing is left to do."""
        ...

    def changes(self, rows: Rows) -> Iterator[Change]:
        """Yields the change of each row. Raises Duplicate."""
        ...


@dataclass(frozen=True)
class Where:
    """Selects rows with these values. Without values it selects every row."""

    cells: tuple[tuple[Column, Cell], ...]
    never: bool = False

    def sql(self) -> str:
        tests = [f"{c.sql}::text is not distinct from {cell.sql(c.kind.type)}::text" for c, cell in self.cells]
        return " and ".join(tests + ["false"] * self.never) or "true"

    def on(self, table: Table) -> "Where":
        return Where(_on(table, self.cells), self.never)

    def matches(self, row: Row) -> bool:
        return not self.never and all(row[c.name].text == cell.text for c, cell in self.cells)


@dataclass(frozen=True)
class Insert:
    table: Table
    rows: tuple[Row, ...]
    how: How

    def sql(self) -> str:
        names = ", ".join(c.sql for c in self.table.columns)
        if self.how == "copy":
            return f"copy {self.table.sql} ({names}) from stdin"
        values = ", ".join(f"({self._values(row)})" for row in self.rows)
        if self.how == "merge":
            return self._merge(names, values)
        source = f"select * from (values {values}) as v" if self.how == "select" else f"values {values}"
        conflict = {"nothing": " on conflict do nothing", "update": self._on_conflict_update()}.get(self.how, "")
        return f"insert into {self.table.sql} ({names}) {source}{conflict}"

    def on(self, table: Table) -> Statement:
        young = {c.name: c for c in table.columns if not self.table.has(c.name)}
        rows = [
            {**row, **{name: c.pool[n % len(c.pool)] for name, c in young.items()}} for n, row in enumerate(self.rows)
        ]
        return Insert(table, tuple(map(table.see, rows)), self.how)

    def changes(self, rows: Rows) -> Iterator[Change]:
        seen: set[object] = set()
        for row in self.rows:
            key = self.table.key(row)
            old = rows.get(key)
            if key in seen and self.how != "nothing":
                raise Duplicate
            if old is None and key not in seen:
                yield Change(self.table, "insert", new=row)
            elif self.how in {"update", "merge"}:
                yield Change(self.table, "update", old, row)
            elif self.how != "nothing":
                raise Duplicate
            seen.add(key)

    def _values(self, row: Row) -> str:
        return ", ".join(row[c.name].sql(c.kind.type) for c in self.table.columns)

    def _on_conflict_update(self) -> str:
        sets = ", ".join(f"{c.sql} = excluded.{c.sql}" for c in self.table.values)
        keys = ", ".join(c.sql for c in self.table.keys)
        return f" on conflict ({keys}) do {f'update set {sets}' if sets else 'nothing'}"

    def _merge(self, names: str, values: str) -> str:
        on = " and ".join(f"t.{c.sql} = s.{c.sql}" for c in self.table.keys)
        sets = ", ".join(f"{c.sql} = s.{c.sql}" for c in self.table.values)
        source = ", ".join(f"s.{c.sql}" for c in self.table.columns)
        return (
            f"merge into {self.table.sql} t using (values {values}) as s ({names}) on {on}"
            f" when matched then update set {sets} when not matched then insert ({names}) values ({source})"
        )


@dataclass(frozen=True)
class Update:
    table: Table
    where: Where
    sets: tuple[tuple[Column, Cell], ...]

    def sql(self) -> str:
        sets = ", ".join(f"{c.sql} = {cell.sql(c.kind.type)}" for c, cell in self.sets)
        return f"update {self.table.sql} set {sets} where {self.where.sql()}"

    def on(self, table: Table) -> Statement | None:
        sets = _on(table, self.sets)
        if len(self.sets) % 2:
            # Columns that were added after the statement was drawn.
            young = [c for c in table.columns if not self.table.has(c.name)]
            sets += tuple((c, c.pool[len(self.where.cells) % len(c.pool)]) for c in young)
        return Update(table, self.where.on(table), sets) if sets else None

    def changes(self, rows: Rows) -> Iterator[Change]:
        new = {c.name: cell for c, cell in self.sets}
        changes = [Change(self.table, "update", r, {**r, **new}) for r in rows.values() if self.where.matches(r)]
        untouched = {key for key, r in rows.items() if not self.where.matches(r)}
        keys = [self.table.key(change.new) for change in changes if change.new]
        if len(set(keys)) < len(keys) or untouched.intersection(keys):
            raise Duplicate
        yield from changes


@dataclass(frozen=True)
class Delete:
    table: Table
    where: Where

    def sql(self) -> str:
        return f"delete from {self.table.sql} where {self.where.sql()}"

    def on(self, table: Table) -> Statement:
        return Delete(table, self.where.on(table))

    def changes(self, rows: Rows) -> Iterator[Change]:
        return (Change(self.table, "delete", old=row) for row in rows.values() if self.where.matches(row))


@dataclass(frozen=True)
class Truncate:
    table: Table

    def sql(self) -> str:
        return f"truncate {self.table.sql}"

    def on(self, table: Table) -> Statement:
        return Truncate(table)

    def changes(self, rows: Rows) -> Iterator[Change]:
        yield Change(self.table, "truncate")


def _on(table: Table, cells: tuple[tuple[Column, Cell], ...]) -> tuple[tuple[Column, Cell], ...]:
    """Returns the values of the columns that still exist, in the columns' current types."""
    old = {column.name: cell for column, cell in cells}
    return tuple((c, c.see(old)) for c in table.columns if c.name in old)
