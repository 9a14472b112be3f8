"""Reader: reads the batches of one stream, one ahead of the delivery, and merges events of watches that coalesce."""

from math import ceil

import msgspec

from bridge.batch import Batch
from bridge.call import Targets, without_own_writes
from bridge.flow.coalesce import coalesce
from bridge.stream.batch_size import BatchSize
from bridge.stream.event_log import EventLog

# Events can only be coalesced if they are read together, so batches are larger while any watch coalesces: they may have
# this many times more tasks, and at most _MOST_EVENTS events.
_COALESCING = 5
# With a catch-up rate, such a batch has the tasks of this many seconds, and is published one second's tasks at a time.
_COALESCING_SECONDS = 10
_MOST_EVENTS = 500_000
# Events. A batch of this size suggests that the next one waits already.
_SMALL = 100
# Characters of JSON that are read together. Merged events are dropped from memory, but not every event is merged.
_MOST_WEIGHT = 20_000_000


class Reader:
    """Reads batches, and knows the targets of their events."""

    def __init__(self, log: EventLog, size: BatchSize, catch_up_rate: float | None) -> None:
        self._log = log
        self._size = size
        self._rate = catch_up_rate
        self._generation = -1
        self._ahead: Batch | None = None
        self.targets = Targets()

    async def refresh(self) -> None:
        """Reads the targets again."""
        self._generation, self.targets = await self._log.targets()
        self._log.batch_size = self._most_tasks if self._coalesces else self._size.now

    async def next(self) -> Batch:
        """Returns the next batch. It is empty when there are no events now."""
        batch, self._ahead = self._ahead or await self._read(), None
        if batch.number and batch.generation != self._generation:
            await self.refresh()
            batch = self._wanted(batch)
        return batch

    def expects_more(self, batch: Batch) -> bool:
        """Whether to read ahead while this batch is being delivered. A small batch at the end of its window is
        published sooner if nothing else uses Python meanwhile."""
        return batch.position.upto is not None or batch.number >= _SMALL

    async def read_ahead(self) -> None:
        """Reads the batch that `next` will return, while the last one is being delivered."""
        self._ahead = await self._read()

    def learn(self, batch: Batch, seconds: float) -> None:
        """Adapts the size of batches to the time that this one took. No read may be under way."""
        if not self._coalesces:
            self._size.learn(batch.number, seconds)
            self._log.batch_size = self._size.now

    async def _read(self) -> Batch:
        """Reads a batch. If any watch coalesces, reads more of the window, up to the limit of tasks."""
        batch = await self._read_wanted()
        if not self._coalesces:
            return batch
        batch = msgspec.structs.replace(batch, events=coalesce(batch.events, self.targets))
        while self._has_room(batch):
            more = await self._read_wanted()
            if not more.number:
                break
            batch = batch.joined(more, coalesce((*batch.events, *more.events), self.targets))
        return batch

    async def _read_wanted(self) -> Batch:
        """Reads a batch, without the events that start nothing."""
        return self._wanted(await self._log.read())

    def _wanted(self, batch: Batch) -> Batch:
        ignoring = self.targets.ignoring
        if not ignoring:
            return batch
        wanted = without_own_writes(batch.events, ignoring)
        # Compare the objects, because two events may have one id.
        kept = set(map(id, wanted))
        own = [event for event in batch.events if id(event) not in kept]
        return msgspec.structs.replace(batch, events=wanted, own_writes=own)

    def _has_room(self, batch: Batch) -> bool:
        """Whether the window goes on after this batch, and more of it may be read."""
        return (
            batch.position.upto is not None
            and len(batch.events) < self._most_tasks
            and batch.number < _MOST_EVENTS
            and batch.weight < _MOST_WEIGHT
        )

    @property
    def _coalesces(self) -> bool:
        return bool(self.targets.coalescing)

    @property
    def _most_tasks(self) -> int:
        """Largest number of tasks in a batch while any watch coalesces."""
        return ceil(_COALESCING_SECONDS * self._rate) if self._rate else _COALESCING * self._size.largest
