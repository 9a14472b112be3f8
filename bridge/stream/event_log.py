"""Event log: windows of committed events and the position of one stream, on one connection."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import msgspec

from bridge.adoption import Adoption
from bridge.batch import Batch, Position
from bridge.call import Refusal, Targets, targets_of
from bridge.database.connect import connect
from bridge.database.connection import Connection
from bridge.database.lock import advisory_lock
from bridge.database.query import fetch, query
from bridge.database.statement import statement
from bridge.database.translation import translated
from bridge.errors import DatabaseError
from bridge.event import NO_TIME, Event
from bridge.reason import kept
from bridge.stream.portion import portion
from bridge.stream.row import Row, id_of, window_of
from bridge.stream.stored_position import StoredPosition, row_of

_KEYS = statement("stream_locks")
_ADOPT = statement("adopt_log")
_LOOK = statement("read_window")
_FLUSH = statement("wait_for_disk")
_REST = statement("walk_window")
_BURY = statement("add_dead_letters")
_TARGETS = statement("read_targets")
_READ_ONLY = statement("is_read_only")
_SHOW_LIFE = statement("show_life")
_SNAPSHOT = statement("read_snapshot")
_CLOSE = statement("close_walk")

_SMALLEST_ID = -(2**63)

# Dead letters in one statement. A coalesced batch may have a large number of them.
_BURIED = 10_000


class EventLog:
    """The log of one stream as its relay sees it: one connection, one relay.

    `read` may be ahead of `move`, and both may run at once: the relay reads the next batch while the broker takes the
    last one.
    """

    def __init__(self, connection: Connection, stream: str, batch_size: int, flushed_only: bool) -> None:
        self._connection = connection
        self._flushed_only = flushed_only
        self._stream = stream
        self._stored = StoredPosition(connection, stream)
        self.batch_size = batch_size
        self._settled = Position(seen="")
        """The position stored in the database."""
        self._read = self._settled
        """The position after the last batch that was read, where the next batch begins."""
        self._generation = 0
        self._walking = False
        self._rows: list[Row] = []
        """Rows that the cursor of a walk returned, and that no batch had room for yet. It has at least one row until
        the window ends."""

    @classmethod
    @asynccontextmanager
    async def open(
        cls,
        database_url: str,
        stream: str,
        batch_size: int,
        purpose: str = "relay",
        flushed_only: bool = True,
        patience: int = 1,
    ) -> AsyncIterator["EventLog"]:
        """Connects to the database.

        `batch_size` is the largest number of events that `read` returns at once. With `flushed_only`, `read` returns
        only events that a crash of the server can't undo. Answers may take `patience` times the usual limit.
        """
        async with connect(database_url, f"{purpose} {stream}") as connection:
            connection.take_patience(patience)
            yield cls(connection, stream, batch_size, flushed_only)

    @property
    def hears(self) -> bool:
        """Whether such a connection receives notifications. Behind a pooler in transaction mode it does not."""
        return not self._connection.pinned

    async def require_writable(self) -> None:
        """Raises DatabaseError when the server does not accept writes: each retry would publish the same events."""
        [row] = await query(self._connection, _READ_ONLY)
        if row.is_read_only:
            raise DatabaseError(
                "the server does not accept writes now: it is a standby, or default_transaction_read_only is on"
            )

    async def own(self) -> Adoption | None:
        """Waits until this session owns the stream, reads the position, and proves that the position can be moved.

        Returns the adoption if the log had to be adopted first, else None. Ownership is a session advisory lock: it
        ends with the connection, and the server grants it to the next waiting session at once.
        """
        keys = row_of(await query(self._connection, _KEYS, {"stream": self._stream}), self._stream)
        with translated():
            await advisory_lock(self._connection, keys.owner_key)
        adopted = await query(self._connection, _ADOPT, {"stream": self._stream}, slow=True)
        self._settled = self._read = await self._stored.read()
        return Adoption(**adopted[0]._asdict()) if adopted else None

    async def say(self) -> None:
        """Runs a statement on this session, so that standbys see that the owner lives."""
        await query(self._connection, _SHOW_LIFE)

    async def follow(self) -> None:
        """Starts reading at the present instead of the stream's position. For readers that do not own the stream."""
        [row] = await query(self._connection, _SNAPSHOT)
        self._read = Position(row.snapshot)

    async def read(self) -> Batch:
        """Returns the events after the last batch that was read, whether that batch is settled or not. Returns an empty
        batch when there are none.

        The next owner of the stream reads again what was read and never settled.
        """
        if self._read.upto is not None:
            batch = await self._walk(self._read.upto)
            if batch.events:
                return batch
            # Nothing is left of the window that an earlier session began, so the next events are after `upto`.
        return await self._look()

    async def move(self, position: Position) -> None:
        """Moves the position in the database. The events before it are never read again."""
        await self._stored.move(position)
        self._settled = position

    async def finish(self) -> None:
        """Closes a window of which nothing was left. To be called when all events are settled."""
        if self._settled != self._read:
            await self.move(self._read)

    async def note_broker(self, error: str | None) -> None:
        """Stores in the database why the broker refuses messages, or None: it accepts them."""
        await self._stored.note_broker(error)

    async def bury(self, refusals: Sequence[Refusal]) -> None:
        """Stores the events as dead letters, each as it is in the log, including those that were coalesced."""
        letters = [(origin, kept(refusal.reason)) for refusal in refusals for origin in refusal.event.origins]
        for begin in range(0, len(letters), _BURIED):
            part = letters[begin : begin + _BURIED]
            values = {
                "stream": self._stream,
                "ids": [origin.id for origin, _ in part],
                "ats": [None if origin.at == NO_TIME else origin.at for origin, _ in part],
                "xids": [origin.xid for origin, _ in part],
                "reasons": [reason for _, reason in part],
            }
            await query(self._connection, _BURY, values)

    async def targets(self) -> tuple[int, Targets]:
        """Returns the generation of the watches, and the targets of all watches."""
        [row] = await query(self._connection, _TARGETS)
        return row.generation, targets_of(zip(row.names, row.tasks, row.options, strict=True), row.sendable)

    async def _look(self) -> Batch:
        seen = self._read.seen
        values = {"stream": self._stream, "seen": seen, "rows": self.batch_size + 1}
        rows = await query(self._connection, _LOOK, values, named=False)
        window = window_of(rows[0])
        self._generation = window.generation
        if window.is_empty:
            # The position stays where it is, so that a stream without events causes no writes.
            return Batch((), self._read, self._generation)
        if window.unflushed and self._flushed_only:
            # A crash of the server could still undo these changes, and tasks would start for changes that never were.
            await query(self._connection, _FLUSH)
        events, taken = await portion(self._connection, rows[: self.batch_size])
        # A walk reads the rows that had no room in this batch.
        return self._batch(events, taken, seen, window.snapshot, rows[len(events) :])

    async def _walk(self, upto: str) -> Batch:
        if not self._walking and not self._rows:
            values = {**msgspec.structs.asdict(self._read), "stream": self._stream}
            await query(self._connection, _REST, values, slow=True)
            self._walking = True
        missing = self.batch_size + 1 - len(self._rows)
        if self._walking and missing > 0:
            rows = await fetch(self._connection, "bridge_rest", missing)
            self._rows += rows
            if len(rows) < missing:
                await query(self._connection, _CLOSE)
                self._walking = False
        events, taken = await portion(self._connection, self._rows[: self.batch_size])
        del self._rows[: len(events)]
        return self._batch(events, taken, self._read.seen, upto, self._rows)

    def _batch(self, events: Sequence[Event], taken: int, seen: str, upto: str, behind: Sequence[Row]) -> Batch:
        """Makes the batch and notes where the next one begins. If rows of the window follow (`behind`), the window goes
        on; otherwise it ends with this batch."""
        largest = max(self._read.largest_id, events[-1].id if events else 0)
        if behind:
            last = events[-1].id
            is_split = id_of(behind[0]) == last
            after_id = last if not is_split else last - 1 if last > _SMALLEST_ID else None
            self._read = Position(seen, upto, after_id, largest)
        else:
            self._read = Position(upto, largest_id=largest)
        oldest = min((event.at for event in events), default=None)
        # No position is below the smallest id, so there the position stays where it was.
        position = Position(seen, largest_id=largest) if behind and after_id is None else self._read
        return Batch(events, position, self._generation, len(events), oldest, taken)
