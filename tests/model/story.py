"""Random stories: tables, watches, and a history of several sessions, step by step."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import Literal, TypeVar

from hypothesis import strategies as st
from hypothesis.strategies import DrawFn

from tests.model.alteration import Add, Alteration, Drop, Rename, Retype, Swap
from tests.model.condition import Both, Condition, Differs, Either, Equals, IsNull, Not, Version
from tests.model.kind import KEY_KINDS, NULL, VALUE_KINDS, Cell, Kind, distinct
from tests.model.stage import SESSIONS, STREAMS
from tests.model.statement import Delete, How, Insert, Statement, Truncate, Update, Where
from tests.model.table import Column, Table
from tests.model.watch import Operation, Watch
from tests.model.world import Isolation

T = TypeVar("T")
SavepointAction = Literal["set", "rollback", "release"]
EndAction = Literal["commit", "rollback", "prepare"]
ReadAction = Literal["batch", "all", "die"]


@dataclass(frozen=True)
class Write:
    session: int
    statement: Statement


@dataclass(frozen=True)
class Begin:
    session: int
    isolation: Isolation


@dataclass(frozen=True)
class Set:
    """`set local`. None leaves the setting unchanged."""

    session: int
    context: str | None
    capture: bool | None


@dataclass(frozen=True)
class Savepoint:
    session: int
    action: SavepointAction


@dataclass(frozen=True)
class End:
    session: int
    action: EndAction


@dataclass(frozen=True)
class EndPrepared:
    """Ends the oldest prepared transaction."""

    commit: bool


@dataclass(frozen=True)
class Read:
    """A relay of the stream reads one batch or all that waits, or it dies and another one takes over."""

    stream: str
    action: ReadAction


@dataclass(frozen=True)
class Alter:
    """Alters a table in the session, in its transaction if it has one, or calls `bridge.alter`."""

    session: int
    table: str
    alteration: Alteration
    by_bridge: bool


Step = Write | Begin | Set | Savepoint | End | EndPrepared | Read | Alter


@dataclass(frozen=True, repr=False)
class Story:
    tables: tuple[Table, ...]
    watches: tuple[Watch, ...]
    batch_size: int
    steps: tuple[Step, ...]

    def __repr__(self) -> str:
        return f"<{len(self.steps)} steps; the SQL is a note on the error>"


_COLUMN_NAMES = ["price", "Größe", "select", "old", "new", "r", 'a "b"', "it's", "%s", "$body$", "tg_op", "data"]
_OPERATIONS: tuple[Operation, ...] = ("insert", "update", "delete", "truncate")
_VERSIONS: tuple[Version, ...] = ("old", "new")
_HOWS: tuple[How, ...] = ("values", "nothing", "update", "merge", "copy", "select")
_READS: tuple[ReadAction, ...] = ("batch", "all", "die")
_SAVEPOINTS: tuple[SavepointAction, ...] = ("set", "rollback", "release")
_ENDS: tuple[EndAction, ...] = ("commit", "commit", "commit", "rollback", "prepare")
_ISOLATIONS: tuple[Isolation, ...] = ("read committed", "repeatable read", "serializable")
_TABLE_NAMES = ["product", 'Odd "Name"', "order", "表", "new", "%I"]
_CONTEXTS = [None, "", '{"user": 7}', "not json", "it's"]


class _Author:
    """Draws with few strategies, each made once, because making a strategy costs more than drawing from it."""

    def __init__(self, draw: DrawFn) -> None:
        self._draw = draw

    def number(self, least: int, most: int) -> int:
        return least + self._draw(_below(most - least + 1))

    def pick(self, items: Sequence[T]) -> T:
        return items[self._draw(_below(len(items)))]

    def often(self) -> bool:
        return self.number(0, 2) > 0

    def some(self, items: Sequence[T], most: int) -> tuple[T, ...]:
        """Draws 1 to `most` of the items, each at most once, in any order."""
        left = list(items)
        return tuple(left.pop(self.number(0, len(left) - 1)) for _ in range(self.number(1, min(most, len(items)))))

    def column(self, name: str, kinds: Sequence[Kind], *, nullable: bool) -> Column:
        kind = self.pick(kinds)
        cells = self._draw(_pool(kind.type))
        return Column(name, kind, (NULL, *cells) if nullable else tuple(cells), name)

    def table(self, name: str) -> Table:
        names = self.some(_COLUMN_NAMES, 6)
        if len(names) < 2:
            names = (*names, "note")
        split = self.number(1, min(2, len(names) - 1))
        keys = tuple(self.column(n, KEY_KINDS, nullable=False) for n in names[:split])
        values = tuple(self.column(n, VALUE_KINDS, nullable=True) for n in names[split:])
        return Table(name, keys, values, self.pick([0, 0, 1, 2]))

    def condition(self, table: Table, depth: int = 0) -> Condition:
        column = self.pick([c for c in table.columns if c.kind.plain])
        version = self.pick(_VERSIONS)
        match self.number(0, 3 if depth == 2 else 6):
            case 0:
                return Differs(column)
            case 1:
                return IsNull(version, column)
            case 2 | 3:
                return Equals(version, column, self.pick(column.pool))
            case 4:
                return Not(self.condition(table, depth + 1))
            case 5:
                return Both(self.condition(table, depth + 1), self.condition(table, depth + 1))
            case _:
                return Either(self.condition(table, depth + 1), self.condition(table, depth + 1))

    def watch(self, tables: Sequence[Table], name: str) -> Watch:
        table = self.pick(tables)
        names = [c.name for c in table.columns]
        operations = _OPERATIONS if self.often() else self.some(_OPERATIONS, 3)
        columns = None if self.often() or "update" not in operations else self.some(names, 6)
        return Watch(
            name=name,
            table=table,
            operations=operations,
            columns=columns,
            condition=None if self.often() else self.condition(table),
            key=None if self.often() else self.some(names, 2),
            data=self.some(names, 6) if self.often() else None,
            whole_event=self.often(),
            may_skip=self.often(),
            unchanged=columns is None and "update" in operations and self.often(),
            stream=self.pick(STREAMS),
            known={name: name for name in names},
        )

    def cells(self, columns: Sequence[Column]) -> tuple[tuple[Column, Cell], ...]:
        return tuple((c, self.pick(c.pool)) for c in columns)

    def insert(self, table: Table, most: int, how: How) -> Insert:
        rows = [{c.name: cell for c, cell in self.cells(table.columns)} for _ in range(self.number(1, most))]
        return Insert(table, tuple(rows), how)

    def where(self, table: Table) -> Where:
        match self.number(0, 5):
            case 0:
                return Where((), never=True)
            case 1:
                return Where(())
            case 2 | 3:
                return Where(self.cells(self.some(table.columns, 1)))
            case _:
                return Where(self.cells(table.keys))

    def statement(self, table: Table) -> Statement:
        match self.number(0, 11):
            case 0:
                return Truncate(table)
            case 1 | 2:
                return Delete(table, self.where(table))
            case 3 | 4:
                return Update(table, self.where(table), self.cells(self.some(table.columns, 2)))
            case 5 | 6 | 7:
                return Update(table, self.where(table), self.cells(self.some(table.values, 3)))
            case _:
                return self.insert(table, 3, self.pick(_HOWS))

    def step(self, tables: Sequence[Table]) -> Step:
        match self.number(0, 17):
            case 16 | 17:
                table = self.pick(tables)
                return Alter(self.session(), table.name, self.alteration(table), not self.often())
            case 0 | 1:
                return Read(self.pick(STREAMS), self.pick(_READS))
            case 2:
                return EndPrepared(self.often())
            case 3 | 4 | 5 | 6 | 7:
                return self.border()
            case _:
                return Write(self.session(), self.statement(self.pick(tables)))

    def alteration(self, table: Table) -> Alteration:
        name = self.pick(table.columns).name
        match self.number(0, 7):
            case 0 | 1 | 2:
                return Rename(name, self.pick(_COLUMN_NAMES), self.fresh() if self.often() else None)
            case 3:
                return Swap(name, self.pick(table.columns).name)
            case 4:
                return Add(self.fresh())
            case 5:
                return Drop(name, self.fresh() if self.often() else None)
            case _:
                return Retype(name, to_text=self.often())

    def fresh(self) -> Column:
        """Draws a column that is added while the story runs."""
        column = self.column(self.pick(_COLUMN_NAMES), KEY_KINDS, nullable=True)
        return replace(column, default=self.pick(column.pool))

    def border(self) -> Step:
        """Draws a step that changes no row."""
        match self.number(0, 5):
            case 0:
                return Set(self.session(), self.pick(_CONTEXTS), self.pick([None, False, True]))
            case 1 | 2:
                return Savepoint(self.session(), self.pick(_SAVEPOINTS))
            case 3:
                return End(self.session(), self.pick(_ENDS))
            case _:
                return Begin(self.session(), self.pick(_ISOLATIONS))

    def session(self) -> int:
        return self.number(0, SESSIONS - 1)


@cache
def _below(number: int) -> st.SearchStrategy[int]:
    return st.integers(0, number - 1)


@cache
def _pool(type_name: str) -> st.SearchStrategy[list[Cell]]:
    return distinct(next(k for k in VALUE_KINDS if k.type == type_name), 2, 3)


@st.composite
def _steps(draw: DrawFn, tables: Sequence[Table]) -> Step:
    return _Author(draw).step(tables)


@st.composite
def stories(draw: DrawFn) -> Story:
    author = _Author(draw)
    tables = tuple(map(author.table, author.some(_TABLE_NAMES, 2)))
    watches = tuple(author.watch(tables, name) for name in author.some(["w.1", "W-2", "_3"], 3))
    seeds = tuple(Write(0, author.insert(table, 6, "nothing")) for table in tables)
    steps = draw(st.lists(_steps(tables), min_size=10, max_size=40))
    return Story(tables, watches, author.number(1, 12), seeds + tuple(steps))
