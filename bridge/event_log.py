"""Event log: windows of committed events and the position of one stream, on one connection."""

from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from datetime import datetime
from typing import Any

import msgspec

from bridge.call import Refusal, Target, Targets
from bridge.database import Connection, advisory_lock, connect, query, statement, translated
from bridge.errors import ConfigError, DatabaseError, PositionError
from bridge.event import Event

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

_decode_key = msgspec.json.Decoder(list[Any]).decode
_decode_data = msgspec.json.Decoder(dict[str, Any]).decode


class Position(msgspec.Struct, frozen=True):
    """How far a stream has been delivered: all that is visible in `seen`, and, while a large window is walked, what is
    visible in `upto` with an id up to `after_id`."""

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
        self._broker_away = False
        """What the database says of the broker."""

    @classmethod
    @asynccontextmanager
    async def open(
        cls, database_url: str, stream: str, batch_size: int, purpose: str = "relay", flushed_only: bool = True
    ) -> AsyncIterator["EventLog"]:
        """Connects; `batch_size` is the most events that `read` returns at once, `flushed_only` that no crash of the
        server can take away what it returns."""
        async with connect(database_url, f"{purpose} {stream}") as connection:
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
        [keys] = await query(self._connection, _KEYS, {"stream": self._stream})
        with translated():
            await advisory_lock(self._connection, keys[1])
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
            [(self._ctid,)] = await query(self._connection, _BROKER_ERROR, values)
            self._broker_away = error is not None

    async def bury(self, refusals: Sequence[Refusal]) -> None:
        """Keeps the events as dead letters."""
        if not refusals:
            return
        events = [refusal.event for refusal in refusals]
        values: dict[str, Any] = {
            name: [getattr(event, name) for event in events] for name in ("id", "watch", "op", "context", "at")
        }
        for name in ("key", "data"):
            values[name] = [_text(getattr(event, name)) for event in events]
        values["reason"] = [refusal.reason for refusal in refusals]
        await query(self._connection, _BURY, {**values, "stream": self._stream})

    async def targets(self) -> tuple[int, Targets]:
        """The generation of the watches and all of them."""
        [(generation, watches, sendable)] = await query(self._connection, _TARGETS)
        return generation, Targets(msgspec.json.decode(watches, type=dict[str, Target]), frozenset(sendable))

    async def _take_up(self) -> None:
        with _movable():
            rows = await query(self._connection, _POSITION, {"stream": self._stream})
        if not rows:
            raise PositionError(f'stream "{self._stream}" has no row in bridge.position any more')
        *position, self._ctid, self._broker_away = rows[0]
        self._settled = self._read = Position(*position)

    async def _look(self) -> Batch:
        seen = self._read.seen
        rows = await query(self._connection, _LOOK, {"stream": self._stream, "seen": seen, "batch": self.batch_size})
        snapshot: str
        snapshot, self._generation, unflushed = rows[0][7:10]
        events = [_event(row) for row in rows if row[0] is not None]
        if events and unflushed and self._flushed_only:
            # A crash could still take them away, and their tasks would be of changes that never were.
            await query(self._connection, _FLUSH)
        # Nothing is read, nothing is moved: a stream without events costs no writes.
        return self._batch(events, seen, snapshot) if events else Batch((), self._read, self._generation)

    async def _walk(self, upto: str) -> Batch:
        if not self._walking:
            values = {**msgspec.structs.asdict(self._read), "stream": self._stream}
            await query(self._connection, _REST, values, slow=True)
            self._walking = True
        rows = await query(self._connection, f"fetch {self.batch_size:d} from bridge_rest")
        if len(rows) < self.batch_size:
            await query(self._connection, "close bridge_rest")
            self._walking = False
        return self._batch([_event(row) for row in rows], self._read.seen, upto)

    def _batch(self, events: Sequence[Event], seen: str, upto: str) -> Batch:
        """A full batch leaves the rest of its window behind it; any other one ends it."""
        largest = max(self._read.largest_id, events[-1].id if events else 0)
        if len(events) == self.batch_size:
            self._read = Position(seen, upto, events[-1].id, largest)
        else:
            self._read = Position(upto, largest_id=largest)
        oldest = min((event.at for event in events), default=None)
        return Batch(events, self._read, self._generation, len(events), oldest)

    async def _save(self, position: Position) -> None:
        values = {**msgspec.structs.asdict(position), "stream": self._stream}
        with _movable():
            moved = await query(self._connection, _MOVE, {**values, "ctid": self._ctid})
            if not moved:
                # The row is not where it was (a VACUUM FULL, say). This session owns the stream, so it may look it up.
                [(*_, ctid, _)] = await query(self._connection, _POSITION, {"stream": self._stream})
                moved = await query(self._connection, _MOVE, {**values, "ctid": ctid})
        [(self._ctid,)] = moved


@contextmanager
def _movable() -> Iterator[None]:
    """Whatever keeps the position from being moved is an outage of this stream: it may be over at the next try."""
    try:
        yield
    except ConfigError as error:
        raise PositionError(f"the position can't be moved: {error}") from error


def _event(row: tuple[Any, ...]) -> Event:
    key, data = row[3], row[4]
    return Event(
        row[0],
        row[1],
        row[2],
        None if key is None else _decode_key(key),
        None if data is None else _decode_data(data),
        row[5],
        row[6],
    )


def _text(value: object) -> str | None:
    return None if value is None else msgspec.json.encode(value).decode()
