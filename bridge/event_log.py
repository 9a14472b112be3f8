"""Event log: windows of committed events and the position of one stream, on one connection."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import msgspec

from bridge.call import Target, Targets
from bridge.database import Connection, advisory_lock, connect, query, statement, translated
from bridge.errors import DatabaseError
from bridge.event import Event

_KEYS = statement("keys")
_POSITION = statement("position")
_LOOK = statement("look")
_REST = statement("rest")
_RESTORED = statement("restored")
_MOVE = statement("move")
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
    """Of the delivered events; what a log restored in another cluster goes by."""


class Batch(msgspec.Struct, frozen=True):
    """Some events in order of id, and the position once they are delivered."""

    events: Sequence[Event]
    position: Position
    generation: int
    """Of the watches, as this batch was read."""


class EventLog:
    """The log of one stream as its relay sees it. Not safe for concurrent use: one connection, one relay."""

    def __init__(self, connection: Connection, stream: str, batch_size: int) -> None:
        self._connection = connection
        self._stream = stream
        self._batch_size = batch_size
        self._position = Position(seen="")
        self._ctid = ""
        self._generation = 0
        self._walking = False
        self._restored = False
        self._unsettled: Batch | None = None

    @classmethod
    @asynccontextmanager
    async def open(
        cls, database_url: str, stream: str, batch_size: int, purpose: str = "relay"
    ) -> AsyncIterator["EventLog"]:
        """Connects; `batch_size` is the most events that `read` returns at once."""
        async with connect(database_url, f"{purpose} {stream}") as connection:
            yield cls(connection, stream, batch_size)

    async def require_writable(self) -> None:
        """DatabaseError when the server takes no writes: what is published would be published again at every try."""
        [(read_only,)] = await query(self._connection, "select current_setting('transaction_read_only')::boolean")
        if read_only:
            raise DatabaseError("the server takes no writes now: a standby, or default_transaction_read_only")

    async def own(self) -> None:
        """Waits until this session is the only relay of the stream, then takes up its position.

        Ownership is a session advisory lock: it ends with the connection, and the next in line has it at once.
        """
        [keys] = await query(self._connection, _KEYS, {"stream": self._stream})
        with translated():
            await advisory_lock(self._connection, keys[1])
        [row] = await query(self._connection, _POSITION, {"stream": self._stream})
        *position, self._ctid, self._restored = row
        self._position = Position(*position)

    async def follow(self) -> None:
        """Starts at the present instead of the stream's position, as a spectator who owns nothing and moves nothing."""
        [(snapshot,)] = await query(self._connection, "select pg_current_snapshot()::text")
        self._position = Position(snapshot)

    def skip(self, position: Position) -> None:
        """A spectator's `move`: only here, not in the database."""
        self._unsettled = None
        self._position = position

    async def read(self) -> Batch:
        """The next events behind the position; an empty batch when all is delivered.

        Until `move` settles a batch, reading again gives the same events.
        """
        if self._unsettled is not None:
            return self._unsettled
        if self._restored:
            batch = await self._walk_restored()
        elif self._position.upto is not None:
            batch = await self._walk(self._position.upto)
        else:
            return await self._look()
        if batch.events:
            # A cursor does not go back.
            self._unsettled = batch
            return batch
        # The walk ended exactly with the last batch: what is left lies behind `upto`.
        await self.move(batch.position)
        return await self._look()

    async def move(self, position: Position) -> None:
        """Moves the position in the database, then here; the events before it are never read again."""
        self._unsettled = None
        if self._restored:
            await self._adopt(position)
            return
        values = {**msgspec.structs.asdict(position), "stream": self._stream}
        moved = await query(self._connection, _MOVE, {**values, "ctid": self._ctid})
        if not moved:
            # The row is not where it was (a VACUUM FULL, say). This session owns the stream, so it may look it up.
            [(*_, ctid, _)] = await query(self._connection, _POSITION, {"stream": self._stream})
            moved = await query(self._connection, _MOVE, {**values, "ctid": ctid})
        [(self._ctid,)] = moved
        self._position = position
        if position.upto is None:
            await self._end_walk()

    async def bury(self, event: Event, reason: str) -> None:
        """Keeps the event as a dead letter."""
        values = msgspec.structs.asdict(event)
        for name in ("key", "data"):
            values[name] = None if values[name] is None else msgspec.json.encode(values[name]).decode()
        await query(self._connection, _BURY, {**values, "stream": self._stream, "reason": reason})

    async def targets(self) -> tuple[int, Targets]:
        """The generation of the watches and all of them."""
        [(generation, watches, sendable)] = await query(self._connection, _TARGETS)
        return generation, Targets(msgspec.json.decode(watches, type=dict[str, Target]), frozenset(sendable))

    async def _look(self) -> Batch:
        seen = self._position.seen
        rows = await query(self._connection, _LOOK, {"stream": self._stream, "seen": seen, "batch": self._batch_size})
        snapshot: str = rows[0][7]
        self._generation = rows[0][8]
        return self._batch([_event(row) for row in rows if row[0] is not None], seen, snapshot)

    async def _walk(self, upto: str) -> Batch:
        if not self._walking:
            await query(
                self._connection, _REST, {**msgspec.structs.asdict(self._position), "stream": self._stream}, slow=True
            )
            self._walking = True
        return self._batch(await self._fetch(), self._position.seen, upto)

    async def _walk_restored(self) -> Batch:
        """The log comes from another cluster, where `seen` meant other transactions: deliver all that can be waiting,
        then start a new position. Until then nothing is saved, so a crash starts over (with the same task ids)."""
        if not self._walking:
            # Ids beyond the largest of this moment are of this cluster, and not in this snapshot.
            text = (
                "select pg_current_snapshot()::text, coalesce(max(id), 0) from bridge.event where stream = %(stream)s"
            )
            [(snapshot, largest_id)] = await query(self._connection, text, {"stream": self._stream}, slow=True)
            self._position = Position(snapshot, largest_id=largest_id)
            await query(self._connection, _RESTORED, {"stream": self._stream}, slow=True)
            self._walking = True
        return self._batch(await self._fetch(), self._position.seen, self._position.seen)

    def _batch(self, events: Sequence[Event], seen: str, upto: str) -> Batch:
        """A full batch leaves the rest of its window behind it; any other one ends it."""
        largest = max(self._position.largest_id, events[-1].id if events else 0)
        if len(events) == self._batch_size:
            return Batch(events, Position(seen, upto, events[-1].id, largest), self._generation)
        return Batch(events, Position(upto, largest_id=largest), self._generation)

    async def _fetch(self) -> list[Event]:
        return [_event(row) for row in await query(self._connection, f"fetch {self._batch_size:d} from bridge_rest")]

    async def _end_walk(self) -> None:
        if self._walking:
            await query(self._connection, "close bridge_rest")
            self._walking = False

    async def _adopt(self, position: Position) -> None:
        self._position = position
        if position.upto is None:
            values = {**msgspec.structs.asdict(position), "stream": self._stream}
            await query(
                self._connection, "select bridge.adopt(%(stream)s, %(seen)s::pg_snapshot, %(largest_id)s)", values
            )
            await self._end_walk()
            self._restored = False


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
