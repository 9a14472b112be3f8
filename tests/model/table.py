"""Tables of a story, and their rows."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from tests.model.kind import NULL, Cell, Kind

Row = Mapping[str, Cell]
"""The cells of a row by `Column.name`."""
Key = tuple[str | None, ...]
Rows = Mapping[Key, Row]


@dataclass(frozen=True)
class Column:
    name: str
    """The name that never changes: rows and watches know the column by it."""
    kind: Kind
    pool: tuple[Cell, ...]
    """All values that the column can have."""
    label: str
    """The current name of the column in SQL."""
    default: Cell = NULL
    """The value in rows that are older than the column."""

    @property
    def sql(self) -> str:
        return identifier(self.label)

    def see(self, row: Row) -> Cell:
        """Returns the column's value in a row that may be older than the column, or than its type."""
        cell = row.get(self.name, self.default)
        return cell.as_text() if self.kind.type == "text" else cell


@dataclass(frozen=True)
class Table:
    name: str
    keys: tuple[Column, ...]
    values: tuple[Column, ...]
    levels: int
    """The number of levels of partitions; 0 for an ordinary table."""

    @property
    def sql(self) -> str:
        return f'"My Shop".{identifier(self.name)}'

    @property
    def columns(self) -> tuple[Column, ...]:
        return self.keys + self.values

    def column(self, name: str) -> Column:
        return next(c for c in self.columns if c.name == name)

    def see(self, row: Row) -> Row:
        return {c.name: c.see(row) for c in self.columns}

    def with_column(self, column: Column) -> "Table":
        return replace(self, values=(*self.values, column))

    def without(self, name: str) -> "Table":
        return replace(self, values=tuple(c for c in self.values if c.name != name))

    def change(self, name: str, how: Callable[[Column], Column]) -> "Table":
        keys, values = (tuple(how(c) if c.name == name else c for c in part) for part in (self.keys, self.values))
        return replace(self, keys=keys, values=values)

    def has(self, name: str) -> bool:
        return any(c.name == name for c in self.columns)

    def key(self, row: Row) -> Key:
        return tuple(row[c.name].text for c in self.keys)

    def moves(self, old: Row, new: Row) -> bool:
        """Returns whether the update moves the row to another partition."""
        return self._partition(old) != self._partition(new)

    def ddl(self) -> list[str]:
        columns = [f"{c.sql} {c.kind.type}" for c in self.columns]
        create = f"create table {self.sql} ({', '.join(columns)}, primary key ({', '.join(c.sql for c in self.keys)}))"
        if self.levels == 0:
            return [f"{create} {_QUIET}"]
        by = self.keys[0]
        some = ", ".join(c.sql(by.kind.type) for c in self._apart())
        first, rest, leaf_1, leaf_2 = (f'"My Shop".{identifier(self.name + n)}' for n in ("_1", "_2", "_2_1", "_2_2"))
        statements = [
            f"{create} partition by list ({by.sql})",
            f"create table {first} partition of {self.sql} for values in ({some}) {_QUIET}",
        ]
        if self.levels == 1:
            return [*statements, f"create table {rest} partition of {self.sql} default {_QUIET}"]
        last = self.keys[-1]
        return [
            *statements,
            f"create table {rest} partition of {self.sql} default partition by list ({last.sql})",
            f"create table {leaf_1} partition of {rest} for values in ({last.pool[-1].sql(last.kind.type)}) {_QUIET}",
            f"create table {leaf_2} partition of {rest} default {_QUIET}",
        ]

    def _apart(self) -> tuple[Cell, ...]:
        pool = self.keys[0].pool
        return pool[: len(pool) // 2]

    def _partition(self, row: Row) -> int:
        if self.levels == 0 or row[self.keys[0].name] in self._apart():
            return 0
        last = self.keys[-1]
        return 2 if self.levels == 2 and row[last.name] == last.pool[-1] else 1


# Autovacuum would take locks at unpredictable times.
_QUIET = "with (autovacuum_enabled = false)"


def identifier(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'
