"""Conditions of a watch, in SQL and in Python. Both have three truth values; None is SQL's unknown."""

from dataclasses import dataclass
from typing import Literal, Protocol

from tests.model.kind import NULL, Cell
from tests.model.table import Column, Row

Version = Literal["old", "new"]


class Condition(Protocol):
    @property
    def columns(self) -> set[str]: ...

    def sql(self) -> str: ...

    def holds(self, old: Row | None, new: Row | None) -> bool | None: ...


def _cell(column: Column, row: Row | None) -> Cell:
    """Returns the value of the column. A missing row reads as NULL."""
    return NULL if row is None else row[column.name]


@dataclass(frozen=True)
class IsNull:
    version: Version
    column: Column

    @property
    def columns(self) -> set[str]:
        return {self.column.name}

    def sql(self) -> str:
        return f"{self.version}.{self.column.sql} is null"

    def holds(self, old: Row | None, new: Row | None) -> bool:
        return _cell(self.column, old if self.version == "old" else new).text is None


@dataclass(frozen=True)
class Equals:
    version: Version
    column: Column
    cell: Cell

    @property
    def columns(self) -> set[str]:
        return {self.column.name}

    def sql(self) -> str:
        return f"{self.version}.{self.column.sql} = {self.cell.sql(self.column.kind.type)}"

    def holds(self, old: Row | None, new: Row | None) -> bool | None:
        actual = _cell(self.column, old if self.version == "old" else new)
        return None if None in {actual.text, self.cell.text} else actual.text == self.cell.text


@dataclass(frozen=True)
class Differs:
    column: Column

    @property
    def columns(self) -> set[str]:
        return {self.column.name}

    def sql(self) -> str:
        return f"old.{self.column.sql} is distinct from new.{self.column.sql}"

    def holds(self, old: Row | None, new: Row | None) -> bool:
        return _cell(self.column, old).text != _cell(self.column, new).text


@dataclass(frozen=True)
class Not:
    inner: Condition

    @property
    def columns(self) -> set[str]:
        return self.inner.columns

    def sql(self) -> str:
        return f"not ({self.inner.sql()})"

    def holds(self, old: Row | None, new: Row | None) -> bool | None:
        held = self.inner.holds(old, new)
        return None if held is None else not held


@dataclass(frozen=True)
class Both:
    left: Condition
    right: Condition

    @property
    def columns(self) -> set[str]:
        return self.left.columns | self.right.columns

    def sql(self) -> str:
        return f"({self.left.sql()}) and ({self.right.sql()})"

    def holds(self, old: Row | None, new: Row | None) -> bool | None:
        held = {self.left.holds(old, new), self.right.holds(old, new)}
        return False if False in held else None if None in held else True


@dataclass(frozen=True)
class Either:
    left: Condition
    right: Condition

    @property
    def columns(self) -> set[str]:
        return self.left.columns | self.right.columns

    def sql(self) -> str:
        return f"({self.left.sql()}) or ({self.right.sql()})"

    def holds(self, old: Row | None, new: Row | None) -> bool | None:
        held = {self.left.holds(old, new), self.right.holds(old, new)}
        return True if True in held else None if None in held else False
