"""Relay: reads windows of one stream, publishes them, advances the position.

    CONNECTING --> STANDBY --owner--> RUNNING <--> BROKER_AWAY     (position unmoved, no event lost, paced tries)
        ^                               |
        '------- DATABASE_AWAY <--------'                          (reconnect; LISTEN first, then look)

Delivery is at least once: the position moves after the broker has confirmed, so a crash in between publishes the batch
again, with the same task ids. While the broker receives one batch, the relay reads the next one.
"""

import logging
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import AbstractAsyncContextManager, contextmanager, nullcontext
from datetime import UTC, datetime
from functools import partial
from math import ceil, inf
from typing import TypeVar

import anyio
import anyio.lowlevel
import msgspec

from bridge.backoff import Backoff
from bridge.batch_size import BatchSize
from bridge.call import Refusal, Targets
from bridge.coalesce import coalesce
from bridge.concurrency import alongside, in_thread, together
from bridge.config import Settings
from bridge.errors import BrokerError, DatabaseError, PositionError, SilenceError
from bridge.event import Event
from bridge.event_log import Batch, EventLog
from bridge.health import Health, State
from bridge.listener import Listener
from bridge.metrics import Metrics
from bridge.poller import Poller
from bridge.publisher import Crew, Publisher
from bridge.reason import kept
from bridge.succession import depose_frozen, keep_talking

logger = logging.getLogger(__name__)

T = TypeVar("T")

# Seconds. An older event had to wait: for the broker, for the database, or for a bridge to run.
_BACKLOG = 5.0

# Largest factor for the usual patience with the database. It turns half a minute into half an hour.
_MOST_PATIENCE = 64

# Seconds between two looks where notifications do not arrive.
_POLL = 0.5

# Events can only be coalesced if they are read together, so batches are larger while any watch coalesces: they may have
# this many times more tasks, and at most _MOST_EVENTS events.
_COALESCING = 5
# With a catch-up rate, such a batch has the tasks of this many seconds, and is published one second's tasks at a time.
_COALESCING_SECONDS = 10
_MOST_EVENTS = 500_000
# Characters of JSON that are read together. Merged events are dropped from memory, but not every event is merged.
_MOST_WEIGHT = 20_000_000


class Relay:
    """The worker that delivers a stream. Any number of relays may run: one owns the stream, the others stand by."""

    def __init__(
        self, stream: str, settings: Settings, publisher: Publisher | Crew, health: Health, metrics: Metrics
    ) -> None:
        self._stream = stream
        self._settings = settings
        self._publisher = publisher
        self._health = health
        self._metrics = metrics
        self._targets = Targets()
        self._generation = -1
        self._largest = _largest_batch(settings)
        self._size = BatchSize(self._largest)
        self._batch = anyio.CancelScope(shield=True)
        self._deadline = inf
        """Deadline for all steps of the batch in flight, after a stop was requested."""
        self._outage: DatabaseError | None = None
        """The outage of the database that was logged. None: the database is there."""
        self._patience = 1
        """Factor for the usual time that an answer of the database may take."""
        self.gave_up = False
        """Whether a batch in flight was given up at the end of the grace period. It will be published again."""

    async def run(self) -> None:
        """Serves the stream until cancelled, and connects again after an outage of the database. Raises ConfigError
        when a retry can't help."""
        backoff = Backoff()
        self._state(State.CONNECTING)
        while True:
            try:
                await self._serve(backoff)
            except DatabaseError as error:
                self._metrics.database_errors.labels(self._stream).inc()
                self._state(State.DATABASE_AWAY)
                if type(self._outage) is not type(error):
                    logger.warning("database away, reconnecting", extra={"stream": self._stream, "reason": str(error)})
                self._outage = error
                if isinstance(error, SilenceError):
                    # The server may be alive and busy: a look reads the whole backlog, which may not be in memory.
                    self._patience = min(2 * self._patience, _MOST_PATIENCE)
            await anyio.sleep(backoff.next())

    def stop_within(self, seconds: float) -> None:
        """Limits the time of a batch in flight after the relay is cancelled. Then the whole batch is given up."""
        self._deadline = self._batch.deadline = anyio.current_time() + seconds

    async def _serve(self, backoff: Backoff) -> None:
        settings = self._settings
        url, flushed_only = settings.database_url, not settings.publish_unflushed
        opened = EventLog.open(url, self._stream, self._size.now, flushed_only=flushed_only, patience=self._patience)
        async with opened as log:
            await log.require_writable()
            self._state(State.STANDBY)
            if not isinstance(self._outage, PositionError):
                self._end_outage()
            async with alongside(partial(depose_frozen, settings.database_url, self._stream, settings.takeover_after)):
                adopted = await log.own()
            self._end_outage()
            if adopted is not None:
                logger.warning(
                    "log adopted",
                    extra={"stream": self._stream, "reason": adopted.reason, "waiting": adopted.waiting},
                )
            async with alongside(partial(keep_talking, log.say, self._busy, settings.takeover_after)):
                await self._own(log, backoff)

    def _end_outage(self) -> None:
        if self._outage is not None:
            logger.info("database is back", extra={"stream": self._stream})
        self._outage = None

    async def _own(self, log: EventLog, backoff: Backoff) -> None:
        # Connect before the first event comes: it need not wait for the connection, and a wrong address shows at once.
        await self._insist(log, partial(in_thread, self._publisher.connect))
        await self._refresh(log)
        logger.info("serving", extra={"stream": self._stream})
        async with self._wakeups(log) as listener:
            async for wakeup in listener:
                self._metrics.notification_queue.set(listener.queue_usage)
                logger.debug("look", extra={"stream": self._stream, "wakeup": wakeup})
                await self._drain(log, listener)
                self._patience = 1
                backoff.reset()

    def _wakeups(self, log: EventLog) -> AbstractAsyncContextManager[Listener | Poller]:
        settings = self._settings
        if log.hears:
            return Listener.open(settings.database_url, self._stream, settings.poll_floor)
        # Each look also shows standbys that this owner lives. With fewer looks they would consider it frozen.
        period = min(_POLL, settings.poll_floor, settings.takeover_after / 2)
        logger.warning(
            "this address leads through a pooler in transaction mode (PgBouncer?): tasks start up to %g s late. "
            "Give the bridge a direct address to avoid that",
            period,
            extra={"stream": self._stream, "seconds": period},
        )
        return nullcontext(Poller(period))

    def _busy(self) -> bool:
        return self._health.is_busy(self._stream)

    async def _drain(self, log: EventLog, listener: Listener | Poller) -> None:
        """Delivers until no event is left. No transaction is open while the broker is used."""
        batch = await self._read(log)
        while batch.events:
            self._health.hold(self._stream, batch.oldest, batch.number)
            # A stop takes effect here, between two batches. The steps below are shielded from it.
            await anyio.lowlevel.checkpoint()
            await listener.disarm()
            if batch.generation != self._generation:
                await self._refresh(log)
            started = anyio.current_time()
            ahead: list[Batch] = []

            async def read(ahead: list[Batch] = ahead) -> None:
                ahead.append(await self._read(log))

            await together(partial(self._deliver, log, batch), read)
            if not self._coalesces():
                # The size may change here, because no read with the old size is under way.
                self._size.learn(batch.number, anyio.current_time() - started)
                log.batch_size = self._size.now
            await anyio.sleep_until(started + self._shortest(batch))
            [batch] = ahead
        self._health.hold(self._stream, None, 0)
        await log.finish()

    async def _read(self, log: EventLog) -> Batch:
        """Reads the next batch. If any watch coalesces, reads more of the window, up to the limit of tasks."""
        batch = await log.read()
        if not self._coalesces():
            return batch
        batch = msgspec.structs.replace(batch, events=coalesce(batch.events, self._targets))
        while (
            batch.position.upto
            and len(batch.events) < self._most_tasks
            and batch.number < _MOST_EVENTS
            and batch.weight < _MOST_WEIGHT
        ):
            more = await log.read()
            if not more.events:
                break
            batch = msgspec.structs.replace(
                more,
                events=coalesce((*batch.events, *more.events), self._targets),
                number=batch.number + more.number,
                oldest=min(filter(None, (batch.oldest, more.oldest)), default=None),
                weight=batch.weight + more.weight,
            )
        return batch

    def _coalesces(self) -> bool:
        return bool(self._targets.coalescing)

    @property
    def _most_tasks(self) -> int:
        """Largest number of tasks in a batch while any watch coalesces."""
        rate = self._settings.catch_up_rate
        return ceil(_COALESCING_SECONDS * rate) if rate else _COALESCING * self._largest

    def _shortest(self, batch: Batch) -> float:
        """Returns the seconds that this batch must take at least. After an outage a rate spares the workers."""
        rate = self._settings.catch_up_rate
        # The rate counts tasks, since it protects the workers. After coalescing, each event here is one task.
        return len(batch.events) / rate if rate and _age(batch) > _BACKLOG else 0.0

    async def _refresh(self, log: EventLog) -> None:
        self._generation, self._targets = await log.targets()
        log.batch_size = self._most_tasks if self._coalesces() else self._size.now

    async def _deliver(self, log: EventLog, batch: Batch) -> None:
        """Publishes the batch, and moves the position after the broker has confirmed all of it."""
        started = anyio.current_time()
        refusals: list[Refusal] = []
        events = batch.events
        portion = ceil(self._settings.catch_up_rate or 0) if self._shortest(batch) else len(events)
        for begin in range(0, len(events), portion):
            if begin:
                await self._wait(started + self._shortest(batch) * begin / len(events))
            refusals += await self._publish(log, events[begin : begin + portion])

        async def settle() -> None:
            with self._giving_up():
                await self._settle(log, batch, refusals)

        await self._insist(log, settle)

    async def _wait(self, until: float) -> None:
        """Waits in the middle of a batch. After a stop the batch goes on at its pace, until the grace period ends."""
        with anyio.CancelScope(shield=True, deadline=self._deadline) as self._batch, self._giving_up():
            await anyio.sleep_until(until)
        if self._batch.cancelled_caught:
            await anyio.lowlevel.checkpoint()

    @contextmanager
    def _giving_up(self) -> Iterator[None]:
        """Notes a stop in the middle of a batch that may be partly published."""
        try:
            yield
        except anyio.get_cancelled_exc_class():
            self.gave_up = True
            raise

    async def _publish(self, log: EventLog, events: Sequence[Event]) -> list[Refusal]:
        """Publishes the events until the broker has confirmed all but the refused ones. Returns those."""
        refusals: list[Refusal] = []

        async def publish() -> None:
            nonlocal events
            try:
                with self._health.publishing(self._stream), self._giving_up():
                    refusals.extend(await in_thread(partial(self._publisher.publish, events, self._targets)))
            except BrokerError as error:
                # The next try leaves out what the broker has confirmed.
                events = [event for place, event in enumerate(events) if place not in error.settled]
                raise

        await self._insist(log, publish)
        return refusals

    async def _insist(self, log: EventLog, step: Callable[[], Awaitable[object]]) -> None:
        """Repeats a step that needs the broker until it succeeds. The tries are paced, and no event is lost."""
        backoff = Backoff()
        while True:
            try:
                # The shield lets a step finish, or be given up as a whole, when a stop comes in the middle.
                with anyio.CancelScope(shield=True, deadline=self._deadline) as self._batch:
                    await step()
                    if self._state(State.RUNNING) is State.BROKER_AWAY:
                        logger.info("broker is back", extra={"stream": self._stream})
                    await log.note_broker(None)
                    return
            except BrokerError as error:
                self._metrics.broker_errors.labels(self._stream).inc()
                if self._state(State.BROKER_AWAY) is not State.BROKER_AWAY:
                    logger.warning("broker away, trying again", extra={"stream": self._stream, "reason": str(error)})
                await log.note_broker(str(error))
            await anyio.sleep(backoff.next())

    async def _settle(self, log: EventLog, batch: Batch, refusals: list[Refusal]) -> None:
        """Stores the refused events as dead letters, then moves the position. The broker has the others."""
        stream, metrics = self._stream, self._metrics
        for event, reason in ((refusal.event, kept(refusal.reason)) for refusal in refusals):
            logger.error(
                "dead letter", extra={"stream": stream, "watch": event.watch, "id": event.id, "reason": reason}
            )
            # A row that a person wrote may have any name as its watch, and a label of a metric is never freed.
            known = event.watch if event.watch in self._targets.watches else ""
            metrics.dead_letters.labels(stream, known).inc(len(event.origins))
        await log.bury(refusals)
        await log.move(batch.position)
        # Compare the objects, because two events may have one id.
        refused = {id(refusal.event) for refusal in refusals}
        counts: Counter[str] = Counter()
        for event in batch.events:
            if id(event) not in refused:
                counts[event.watch] += 1 + len(event.merged)
        for watch, count in counts.items():
            metrics.published.labels(stream, watch).inc(count)
        metrics.batch_size.labels(stream).observe(batch.number)
        metrics.delivery.labels(stream).observe(_age(batch))

    def _state(self, state: State) -> State | None:
        self._metrics.state.labels(self._stream).state(state.value)
        return self._health.set(self._stream, state)


def _largest_batch(settings: Settings) -> int:
    """Returns the largest batch. With a rate it is at most one second's tasks, so that tasks come evenly."""
    return min(settings.batch_size, ceil(settings.catch_up_rate or settings.batch_size))


def _age(batch: Batch) -> float:
    """Returns the seconds since the oldest event of the batch."""
    return 0.0 if batch.oldest is None else (datetime.now(UTC) - batch.oldest).total_seconds()
