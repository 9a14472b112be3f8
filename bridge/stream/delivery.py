"""Delivery: reads the batches of an owned stream, publishes them, and moves the position.

Delivery is at least once: the position moves after the broker has confirmed, so a crash in between publishes the batch
again, with the same task ids. While the broker receives one batch, the next one is read.
"""

from collections.abc import Awaitable, Callable, Sequence
from functools import partial

import anyio
import anyio.lowlevel
import msgspec

from bridge.backoff import Backoff
from bridge.batch import Batch
from bridge.call import Refusal
from bridge.concurrency import in_thread, together
from bridge.errors import BrokerError
from bridge.event import Event
from bridge.flow.pace import Pace
from bridge.publisher import Pool, Publisher
from bridge.stream.event_log import EventLog
from bridge.stream.grace import Grace
from bridge.stream.listener import Listener
from bridge.stream.poller import Poller
from bridge.stream.reader import Reader
from bridge.telemetry.recorder import Recorder


class _Part(msgspec.Struct):
    """Events that are published together."""

    events: Sequence[Event]
    """Those that the broker has not confirmed yet."""
    refusals: list[Refusal]
    skipped: list[Event]
    """Those of shadow watches, which start no task."""


class Delivery:
    """The delivery of one stream as long as this session owns it."""

    def __init__(
        self,
        log: EventLog,
        reader: Reader,
        publisher: Publisher | Pool,
        pace: Pace,
        grace: Grace,
        recorder: Recorder,
    ) -> None:
        self._log = log
        self._reader = reader
        self._publisher = publisher
        self._pace = pace
        self._grace = grace
        self._recorder = recorder

    async def begin(self) -> None:
        """Connects to the broker before the first event comes: it need not wait for the connection, and a wrong
        address shows at once."""
        await self._retry(partial(in_thread, self._publisher.connect))
        await self._reader.refresh()

    async def drain(self, listener: Listener | Poller) -> None:
        """Delivers until no event is left. No transaction is open while the broker is used."""
        batch = await self._reader.next()
        while batch.number:
            self._recorder.holding(batch)
            # A stop takes effect here, between two batches. The steps below are shielded from it.
            await anyio.lowlevel.checkpoint()
            listener.disarm()
            started = anyio.current_time()
            if self._reader.expects_more(batch):
                await together(partial(self._deliver, batch), self._reader.read_ahead)
            else:
                await self._deliver(batch)
            self._reader.learn(batch, anyio.current_time() - started)
            await anyio.sleep_until(started + self._pace.shortest(batch))
            batch = await self._reader.next()
        self._recorder.holding(batch)
        await self._log.finish()

    async def _deliver(self, batch: Batch) -> None:
        """Publishes the batch, and moves the position after the broker has confirmed all of it."""
        started = anyio.current_time()
        refusals: list[Refusal] = []
        skipped: list[Event] = []
        size = self._pace.together(batch)
        for begin in range(0, len(batch.events), size):
            if begin:
                await self._grace.sleep_until(started + self._pace.shortest(batch) * begin / len(batch.events))
            part = _Part(batch.events[begin : begin + size], refusals, skipped)
            await self._retry(partial(self._publish, part))
        await self._retry(partial(self._settle, batch, refusals, skipped))

    async def _publish(self, part: _Part) -> None:
        """Tries once to publish the part. The next try leaves out what the broker has confirmed."""
        # What counts is the watch's option now, not when the event was recorded.
        shadows = self._reader.targets.shadows
        if shadows:
            part.skipped += [event for event in part.events if event.watch in shadows]
            part.events = [event for event in part.events if event.watch not in shadows]
            if not part.events:
                return
        with self._recorder.publishing(), self._grace.giving_up():
            receipt = await in_thread(partial(self._publisher.publish, part.events, self._reader.targets))
        if receipt.outage is not None:
            part.events = receipt.missing(part.events)
            raise BrokerError(receipt.outage)
        part.refusals += receipt.refusals(part.events)

    async def _settle(self, batch: Batch, refusals: Sequence[Refusal], skipped: Sequence[Event]) -> None:
        """Stores the refused events as dead letters, then moves the position. The broker has the others."""
        with self._grace.giving_up():
            self._recorder.dead_letters(refusals, self._reader.targets)
            await self._log.bury(refusals)
            await self._log.move(batch.position)
            self._recorder.delivered(batch, refusals, skipped)

    async def _retry(self, step: Callable[[], Awaitable[object]]) -> None:
        """Repeats a step that needs the broker until it succeeds. The tries are paced, and no event is lost."""
        backoff = Backoff()
        while True:
            try:
                with self._grace.shield():
                    await step()
                    self._recorder.broker_there()
                    await self._log.note_broker(None)
                    return
            except BrokerError as error:
                self._recorder.broker_away(error)
                await self._log.note_broker(str(error))
            await anyio.sleep(backoff.next())
