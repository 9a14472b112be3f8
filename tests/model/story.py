"""Random stories: tables, watches, and a history of several sessions, step by step."""

from dataclasses import dataclass
from typing import Literal, TypeVar

from hypothesis import strategies as st
from hypothesis.strategies import DrawFn, SearchStrategy

from tests.model.condition import Both, Condition, Differs, Either, Equals, IsNull, Not
from tests.model.kind import KEY_KINDS, NULL, VALUE_KINDS, Cell, distinct
from tests.model.stage import SESSIONS, STREAMS
from tests.model.statement import Delete, Insert, Statement, Truncate, Update, Where
from tests.model.table import Column, Row, Table
from tests.model.watch import Operation, Watch
from tests.model.world import Isolation

T = TypeVar("T")


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
    """`set local`: None leaves the setting as it is."""

    session: int
    context: str | None
    capture: bool | None


@dataclass(frozen=True)
class Savepoint:
    session: int
    action: Literal["set", "rollback", "release"]


@dataclass(frozen=True)
class End:
    session: int
    action: Literal["commit", "rollback", "prepare"]


@dataclass(frozen=True)
class EndPrepared:
    """The oldest transaction that is prepared."""

    commit: bool


@dataclass(frozen=True)
class Read:
    """A relay of the stream looks: at one batch, whose delivery may fail, or at all; or it dies and comes back."""

    stream: str
    action: Literal["batch", "unsettled", "all", "restart"]


Step = Write | Begin | Set | Savepoint | End | EndPrepared | Read


@dataclass(frozen=True)
class Story:
    tables: tuple[Table, ...]
    watches: tuple[Watch, ...]
    batch_size: int
    steps: tuple[Step, ...]


_COLUMN_NAMES = ["price", "Größe", "select", "old", "new", "r", 'a "b"', "it's", "%s", "$body$", "tg_op", "data"]
_TABLE_NAMES = ["product", 'Odd "Name"', "order", "表", "new", "%I"]
_CONTEXTS = ["", '{"user": 7}', "not json", "it's"]


def _some(items: list[T], most: int | None = None) -> SearchStrategy[tuple[T, ...]]:
    return st.lists(st.sampled_from(items), min_size=1, max_size=most or len(items), unique_by=id).map(tuple)


@st.composite
def _columns(draw: DrawFn) -> tuple[tuple[Column, ...], tuple[Column, ...]]:
    names = draw(st.permutations(_COLUMN_NAMES))
    keys = []
    for _ in range(draw(st.integers(1, 2))):
        kind = draw(st.sampled_from(KEY_KINDS))
        keys.append(Column(names.pop(), kind, tuple(draw(distinct(kind, 2, 3)))))
    values = []
    for _ in range(draw(st.integers(1, 4))):
        kind = draw(st.sampled_from(VALUE_KINDS))
        values.append(Column(names.pop(), kind, (NULL, *draw(distinct(kind, 1, 3)))))
    return tuple(keys), tuple(values)


@st.composite
def _tables(draw: DrawFn) -> tuple[Table, ...]:
    names = draw(_some(_TABLE_NAMES, 2))
    return tuple(Table(name, *draw(_columns()), draw(st.sampled_from([0, 0, 1, 2]))) for name in names)


@st.composite
def _leaf_condition(draw: DrawFn, table: Table) -> Condition:
    version: Literal["old", "new"] = draw(st.sampled_from(["old", "new"]))
    column = draw(st.sampled_from([c for c in table.columns if c.kind.plain]))
    leaves: list[Condition] = [
        IsNull(version, column),
        Differs(column),
        *(Equals(version, column, c) for c in column.pool),
    ]
    return draw(st.sampled_from(leaves))


def _conditions(table: Table) -> SearchStrategy[Condition]:
    leaf: SearchStrategy[Condition] = _leaf_condition(table)
    return st.recursive(
        leaf,
        lambda inner: inner.map(Not) | st.builds(Both, inner, inner) | st.builds(Either, inner, inner),
        max_leaves=3,
    )


@st.composite
def _watch(draw: DrawFn, tables: tuple[Table, ...], name: str) -> Watch:
    table = draw(st.sampled_from(tables))
    names = [c.name for c in table.columns]
    every: list[Operation] = ["insert", "update", "delete", "truncate"]
    operations = draw(_some(every))
    return Watch(
        name=name,
        table=table,
        operations=operations,
        columns=draw(st.none() | _some(names)) if "update" in operations else None,
        condition=draw(st.none() | _conditions(table)),
        key=draw(st.none() | _some(names, 2)),
        data=draw(st.none() | _some(names)),
        whole_event=draw(st.booleans()),
        may_skip=draw(st.booleans()),
        stream=draw(st.sampled_from(STREAMS)),
    )


def _cells(columns: tuple[Column, ...]) -> SearchStrategy[tuple[tuple[Column, Cell], ...]]:
    return st.tuples(*(st.sampled_from(c.pool).map(lambda cell, c=c: (c, cell)) for c in columns))  # type: ignore[misc]


def _wheres(table: Table) -> SearchStrategy[Where]:
    one = st.sampled_from(table.columns).flatmap(lambda c: _cells((c,)))
    return (
        st.builds(Where, _cells(table.keys))
        | st.builds(Where, one)
        | st.sampled_from([Where(()), Where((), never=True)])
    )


def _rows(table: Table) -> SearchStrategy[Row]:
    return _cells(table.columns).map(lambda cells: {c.name: cell for c, cell in cells})


def _statements(table: Table) -> SearchStrategy[Statement]:
    inserts: SearchStrategy[Statement] = st.builds(
        Insert,
        st.just(table),
        st.lists(_rows(table), min_size=1, max_size=4).map(tuple),
        st.sampled_from(["values", "select", "copy", "nothing", "update", "merge"]),
    )
    sets = _some(list(table.values)).flatmap(_cells) | _some(list(table.columns)).flatmap(_cells)
    updates: SearchStrategy[Statement] = st.builds(Update, st.just(table), _wheres(table), sets)
    deletes: SearchStrategy[Statement] = st.builds(Delete, st.just(table), _wheres(table))
    truncates: SearchStrategy[Statement] = st.just(Truncate(table))
    return st.one_of(inserts, inserts, updates, updates, deletes, truncates)


def _steps(tables: tuple[Table, ...]) -> SearchStrategy[Step]:
    session = st.integers(0, SESSIONS - 1)
    writes: SearchStrategy[Step] = st.builds(Write, session, st.sampled_from(tables).flatmap(_statements))
    isolation = st.sampled_from(["read committed", "repeatable read", "serializable"])
    context = st.none() | st.sampled_from(_CONTEXTS)
    capture = st.sampled_from([None, False, True])
    rest: list[SearchStrategy[Step]] = [
        st.builds(Begin, session, isolation),
        st.builds(Begin, session, isolation),
        st.builds(Set, session, context, capture),
        st.builds(Savepoint, session, st.sampled_from(["set", "rollback", "release"])),
        st.builds(End, session, st.sampled_from(["commit", "commit", "commit", "rollback", "prepare"])),
        st.builds(EndPrepared, st.booleans()),
        st.builds(Read, st.sampled_from(STREAMS), st.sampled_from(["batch", "unsettled", "all", "restart"])),
    ]
    return st.one_of(writes, writes, writes, writes, writes, *rest)


@st.composite
def stories(draw: DrawFn) -> Story:
    tables = draw(_tables())
    watches = tuple(draw(_watch(tables, name)) for name in ("w.1", "W-2", "_3")[: draw(st.integers(1, 3))])
    steps = draw(st.lists(_steps(tables), min_size=5, max_size=40))
    return Story(tables, watches, draw(st.integers(1, 12)), tuple(steps))
