"""Event log: windows of committed events and the position of one stream, on one connection."""

from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from datetime import datetime

import msgspec

from bridge.call import Refusal, Targets, targets_of
from bridge.database import Connection, advisory_lock, connect, query, statement, translated
from bridge.errors import ConfigError, DatabaseError, PositionError
from bridge.event import NO_TIME, Event
from bridge.reader import portion
from bridge.reason import kept
from bridge.row import Row

_KEYS = statement("keys")
_ADOPT = statement("adopt")
_POSITION = statement("position")
_LOOK = statement("look")
_FLUSH = statement("flush")
_REST = statement("rest")
_MOVE = statement("move")
_BROKER_ERROR = statement("broker_error")
_BURY = statement("bury")
_TARGETS = statement("targets")

_SMALLEST_ID = -(2**63)

# Dead letters in one statement; those of a coalesced batch may be many.
_BURIED = 10_000


class Position(msgspec.Struct, frozen=True):
    """How far a stream has been delivered: all that is visible in `seen`, and, while a large window is walked, what is
    visible in `upto` with an id up to `after_id`. An id may be there several times (a dead letter that is retried after
    a failover, a row that somebody wrote): `after_id` is below it until all of its events are delivered."""

    seen: str
    upto: str | None = None
    after_id: int | None = None
    largest_id: int = 0
    """Of the delivered events; what tells in another cluster which events came after them."""


class Adoption(msgspec.Struct, frozen=True):
    """A log that was restored from elsewhere became one of this cluster."""

    reason: str
    waiting: int
    """Events in it that were not delivered where it comes from."""


class Batch(msgspec.Struct, frozen=True):
    """Some events in order of id, and the position once they are delivered."""

    events: Sequence[Event]
    position: Position
    generation: int
    """Of the watches, as this batch was read."""
    number: int = 0
    """Of events that were read; fewer are here where they were coalesced."""
    oldest: datetime | None = None
    """When the first of those that were read happened."""
    weight: int = 0
    """Characters of JSON that were read."""


class EventLog:
    """The log of one stream as its relay sees it: one connection, one relay.

    `read` may run ahead of `move`, also while it runs: the relay reads the next batch while the broker takes the last.
    """

    def __init__(self, connection: Connection, stream: str, batch_size: int, flushed_only: bool) -> None:
        self._connection = connection
        self._flushed_only = flushed_only
        self._stream = stream
        self.batch_size = batch_size
        self._settled = Position(seen="")
        """What the database has: `move` was here."""
        self._read = self._settled
        """Where the next batch begins: `read` was here."""
        self._ctid = ""
        self._generation = 0
        self._walking = False
        self._rows: list[Row] = []
        """What the cursor of a walk has given and no batch had room for yet; one row at least until the window ends."""
        self._broker_away = False
        """What the database says of the broker."""

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
        """Connects; `batch_size` is the most events that `read` returns at once, `flushed_only` that no crash of the
        server can take away what it returns; answers may take `patience` times as long as elsewhere."""
        async with connect(database_url, f"{purpose} {stream}") as connection:
            connection.take_patience(patience)
            yield cls(connection, stream, batch_size, flushed_only)

    @property
    def hears(self) -> bool:
        """Whether a connection like this one can listen: not behind a pooler in transaction mode."""
        return not self._connection.pinned

    async def require_writable(self) -> None:
        """DatabaseError when the server takes no writes: what is published would be published again at every try."""
        [(read_only,)] = await query(self._connection, "select current_setting('transaction_read_only')::boolean")
        if read_only:
            raise DatabaseError("the server takes no writes now: a standby, or default_transaction_read_only")

    async def own(self) -> Adoption | None:
        """Waits until this session is the only relay of the stream, then takes up its position, and proves that it can
        be moved. Tells whether the log had to be adopted for that.

        Ownership is a session advisory lock: it ends with the connection, and the next in line has it at once.
        """
        _, owner_key = self._there(await query(self._connection, _KEYS, {"stream": self._stream}))
        with translated():
            await advisory_lock(self._connection, owner_key)
        adopted = await query(self._connection, _ADOPT, {"stream": self._stream}, slow=True)
        await self._take_up()
        return Adoption(*adopted[0]) if adopted else None

    async def say(self) -> None:
        """A word on this session, which tells standbys that its owner lives."""
        await query(self._connection, "select 1")

    async def follow(self) -> None:
        """Starts at the present instead of the stream's position, as a spectator who owns nothing and moves nothing."""
        [(snapshot,)] = await query(self._connection, "select pg_current_snapshot()::text")
        self._read = Position(snapshot)

    async def read(self) -> Batch:
        """The events behind the last batch that was read, settled or not; an empty batch when there are none.

        What was read and never settled is read again by the next session that owns the stream.
        """
        if self._read.upto is not None:
            batch = await self._walk(self._read.upto)
            if batch.events:
                return batch
            # The window ended exactly with a batch: what is left lies behind `upto`.
        return await self._look()

    async def move(self, position: Position) -> None:
        """Moves the position in the database; the events before it are never read again."""
        await self._save(position)
        self._settled = position

    async def finish(self) -> None:
        """All that was read is settled and nothing is left: a window that ended exactly with a batch is closed."""
        if self._settled != self._read:
            await self.move(self._read)

    async def note_broker(self, error: str | None) -> None:
        """Tells whoever asks the database why the broker takes nothing, or (None) that it does; free if it knows."""
        if self._broker_away != (error is not None):
            values = {"stream": self._stream, "reason": error}
            [self._ctid] = self._there(await query(self._connection, _BROKER_ERROR, values))
            self._broker_away = error is not None

    async def bury(self, refusals: Sequence[Refusal]) -> None:
        """Keeps the events as dead letters, each as it is in the log, also those that were coalesced."""
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
        """The generation of the watches and all of them."""
        [(generation, names, tasks, options, sendable)] = await query(self._connection, _TARGETS)
        return generation, targets_of(zip(names, tasks, options, strict=True), sendable)

    async def _take_up(self) -> None:
        with _movable():
            rows = await query(self._connection, _POSITION, {"stream": self._stream})
        *position, self._ctid, self._broker_away = self._there(rows)
        self._settled = self._read = Position(*position)

    async def _look(self) -> Batch:
        seen = self._read.seen
        rows = await query(self._connection, _LOOK, {"stream": self._stream, "seen": seen, "rows": self.batch_size + 1})
        snapshot: str
        snapshot, self._generation, unflushed = rows[0][9:12]
        if rows[0][0] is None:
            # Nothing is read, nothing is moved: a stream without events costs no writes.
            return Batch((), self._read, self._generation)
        if unflushed and self._flushed_only:
            # A crash could still take them away, and their tasks would be of changes that never were.
            await query(self._connection, _FLUSH)
        events, taken = await portion(self._connection, rows[: self.batch_size])
        # Those that there was no room for are walked to.
        return self._batch(events, taken, seen, snapshot, rows[len(events) :])

    async def _walk(self, upto: str) -> Batch:
        if not self._walking and not self._rows:
            values = {**msgspec.structs.asdict(self._read), "stream": self._stream}
            await query(self._connection, _REST, values, slow=True)
            self._walking = True
        missing = self.batch_size + 1 - len(self._rows)
        if self._walking and missing > 0:
            rows = await query(self._connection, f"fetch {missing:d} from bridge_rest")
            self._rows += rows
            if len(rows) < missing:
                await query(self._connection, "close bridge_rest")
                self._walking = False
        events, taken = await portion(self._connection, self._rows[: self.batch_size])
        del self._rows[: len(events)]
        return self._batch(events, taken, self._read.seen, upto, self._rows)

    def _batch(self, events: Sequence[Event], taken: int, seen: str, upto: str, behind: Sequence[Row]) -> Batch:
        """A batch with rows behind it leaves the rest of its window; any other one ends it."""
        largest = max(self._read.largest_id, events[-1].id if events else 0)
        if behind:
            last = events[-1].id
            is_split = behind[0][0] == last
            after_id = last if not is_split else last - 1 if last > _SMALLEST_ID else None
            self._read = Position(seen, upto, after_id, largest)
        else:
            self._read = Position(upto, largest_id=largest)
        oldest = min((event.at for event in events), default=None)
        # Nothing is below the smallest id: there the position stays where it was.
        position = Position(seen, largest_id=largest) if behind and after_id is None else self._read
        return Batch(events, position, self._generation, len(events), oldest, taken)

    async def _save(self, position: Position) -> None:
        values = {**msgspec.structs.asdict(position), "stream": self._stream}
        with _movable():
            moved = await query(self._connection, _MOVE, {**values, "ctid": self._ctid})
            if not moved:
                # The row is not where it was (a VACUUM FULL, say). This session owns the stream, so it may look it up.
                rows = await query(self._connection, _POSITION, {"stream": self._stream})
                *_, ctid, _ = self._there(rows)
                moved = await query(self._connection, _MOVE, {**values, "ctid": ctid})
        [self._ctid] = self._there(moved)

    def _there(self, rows: Sequence[Row]) -> Row:
        """The row of the position, which somebody may have deleted."""
        if not rows:
            raise PositionError(f'stream "{self._stream}" has no row in bridge.position any more')
        return rows[0]


@contextmanager
def _movable() -> Iterator[None]:
    """Whatever keeps the position from being moved is an outage of this stream: it may be over at the next try."""
    try:
        yield
    except ConfigError as error:
        raise PositionError(f"the position can't be moved: {error}") from error
