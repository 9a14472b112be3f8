"""The expected state: rows that a transaction sees, rows that are committed, events that are committed."""

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from itertools import count
from typing import Literal

from tests.model.statement import Duplicate, Insert, Statement
from tests.model.table import Key, Row, Rows, Table
from tests.model.watch import Change, Event, Watch

Isolation = Literal["read committed", "repeatable read", "serializable"]


@dataclass(frozen=True)
class Chunk:
    """The events of one statement. PostgreSQL alone decides about their order."""

    number: int
    events: Counter[Event]


@dataclass(frozen=True)
class State:
    """The work of a transaction so far. A rollback to a savepoint restores an earlier state."""

    schema: dict[str, Table] = field(default_factory=dict)
    """Tables that the transaction has altered."""
    rewritten: frozenset[str] = frozenset()
    """Tables whose rows the transaction has rewritten, so that it sees all committed rows."""
    writes: dict[str, dict[Key, Row | None]] = field(default_factory=dict)
    emptied: frozenset[str] = frozenset()
    context: str | None = None
    capture: bool = True
    chunks: tuple[Chunk, ...] = ()


@dataclass(eq=False)
class Transaction:
    isolation: Isolation = "read committed"
    state: State = field(default_factory=State)
    savepoints: list[State] = field(default_factory=list)
    snapshot: dict[str, Rows] | None = None
    snapshot_at: int = 0
    """The number of commits before the snapshot."""
    touched: set[str] = field(default_factory=set)
    """Tables on which the transaction may hold locks."""


class World:
    def __init__(self, tables: Iterable[Table], watches: Iterable[Watch]) -> None:
        self.watches = list(watches)
        self.schema = {table.name: table for table in tables}
        self.committed: dict[str, Rows] = {name: {} for name in self.schema}
        self.open: list[Transaction] = []
        self._commits = 0
        self._log: list[Chunk] = []
        self._numbers = count()

    def begin(self, isolation: Isolation) -> Transaction:
        self.open.append(Transaction(isolation))
        return self.open[-1]

    def table(self, transaction: Transaction, name: str) -> Table:
        """Returns the table as the transaction sees it."""
        return transaction.state.schema.get(name, self.schema[name])

    def is_free(self, transaction: Transaction, name: str) -> bool:
        """Whether no other transaction holds a lock on the table."""
        return not any(name in other.touched for other in self.open if other is not transaction)

    def alter(self, transaction: Transaction, table: Table, *, rewrites: bool) -> None:
        self._take_snapshot(transaction)
        transaction.touched.add(table.name)
        state = transaction.state
        transaction.state = replace(
            state,
            schema={**state.schema, table.name: table},
            rewritten=state.rewritten | ({table.name} if rewrites else set()),
        )

    def follow(self, table: Table) -> None:
        """Makes the table's watches anew, as `bridge.alter` does."""
        self.watches = [w.follow(table) if w.table.name == table.name else w for w in self.watches]

    def foresee(self, transaction: Transaction, statement: Statement) -> list[Change] | None:
        """Returns the statement's changes, or None if it must fail because it would make two rows of one key."""
        self._take_snapshot(transaction)
        transaction.touched.add(statement.table.name)
        try:
            return list(statement.changes(self._visible(transaction, statement.table.name)))
        except Duplicate:
            return None

    def failures(self, transaction: Transaction, statement: Statement) -> set[str]:
        """Returns the SQLSTATEs that the statement may fail with although `foresee` expects it to succeed."""
        table = statement.table.name
        others = [t for t in self.open if t is not transaction and table in t.touched]
        allowed = {"55P03"} if others else set()
        if transaction.snapshot is not None and (
            transaction.isolation == "serializable" or self._is_stale(transaction)
        ):
            # It may meet rows that were committed after its snapshot.
            allowed |= {"40001", "23505"}
        return allowed

    def is_certain(self, transaction: Transaction, statement: Statement) -> bool:
        """Whether `foresee` can be trusted.

        It can't if an old snapshot meets a unique index, which ignores snapshots: the transaction still sees a key
        whose row has been deleted since, but may insert the key once more.
        """
        if transaction.snapshot is None or not self._is_stale(transaction):
            return True
        if self.foresee(transaction, statement) is None:
            return False
        table = statement.table.name
        gone = self._visible(transaction, table).keys() - self.committed[table].keys()
        gone -= transaction.state.writes.get(table, {}).keys()
        return not (isinstance(statement, Insert) and any(statement.table.key(row) in gone for row in statement.rows))

    def done(self, transaction: Transaction, changes: Iterable[Change]) -> None:
        """Records that the statement succeeded."""
        state = transaction.state
        writes = {table: dict(rows) for table, rows in state.writes.items()}
        emptied = set(state.emptied)
        events: Counter[Event] = Counter()
        gone: list[tuple[Table, Row]] = []
        come: list[tuple[Table, Row]] = []
        for change in changes:
            for watch in self.watches:
                events.update(watch.events(change, state.context, state.capture))
            if change.op == "truncate":
                emptied.add(change.table.name)
                writes[change.table.name] = {}
            if change.old is not None:
                gone.append((change.table, change.old))
            if change.new is not None:
                come.append((change.table, change.new))
        for table, row in gone:
            writes.setdefault(table.name, {})[table.key(row)] = None
        for table, row in come:
            writes.setdefault(table.name, {})[table.key(row)] = row
        chunks = (*state.chunks, Chunk(next(self._numbers), events)) if events else state.chunks
        transaction.state = replace(state, writes=writes, emptied=frozenset(emptied), chunks=chunks)

    def commit(self, transaction: Transaction) -> None:
        self.open.remove(transaction)
        self._commits += 1
        state = transaction.state
        self.schema |= state.schema
        for name in state.emptied | state.rewritten:
            # Older snapshots see the table empty too, because TRUNCATE and rewritten rows ignore row versions.
            for other in self.open:
                if other.snapshot is not None:
                    other.snapshot[name] = {}
        for name, writes in state.writes.items():
            self.committed[name] = _written({} if name in state.emptied else self.committed[name], writes)
        self._log += state.chunks

    def rollback(self, transaction: Transaction) -> None:
        self.open.remove(transaction)

    def log(self) -> Iterator[Counter[Event]]:
        """Yields the committed events in the order in which their statements ran."""
        return (chunk.events for chunk in sorted(self._log, key=lambda chunk: chunk.number))

    def committed_events(self, stream: str) -> int:
        return sum(n for chunk in self._log for event, n in chunk.events.items() if event.stream == stream)

    def _visible(self, transaction: Transaction, table: str) -> Rows:
        state = transaction.state
        seen = self.committed if table in state.rewritten else transaction.snapshot or self.committed
        rows = _written({} if table in state.emptied else seen[table], state.writes.get(table, {}))
        see = self.table(transaction, table).see
        return {key: see(row) for key, row in rows.items()}

    def _take_snapshot(self, transaction: Transaction) -> None:
        if transaction.isolation != "read committed" and transaction.snapshot is None:
            transaction.snapshot, transaction.snapshot_at = dict(self.committed), self._commits

    def _is_stale(self, transaction: Transaction) -> bool:
        return transaction.snapshot_at != self._commits


def _written(rows: Rows, writes: dict[Key, Row | None]) -> Rows:
    merged: dict[Key, Row | None] = {**rows, **writes}
    return {key: row for key, row in merged.items() if row is not None}
