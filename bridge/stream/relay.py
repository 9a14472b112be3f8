"""Relay: the life of one stream in this process.

CONNECTING --> STANDBY --owner--> RUNNING <--> BROKER_AWAY     (position unmoved, no event lost, paced tries)
    ^                               |
    '------- DATABASE_AWAY <--------'                          (reconnect; LISTEN first, then look)
"""

from contextlib import AbstractAsyncContextManager, nullcontext
from functools import partial
from math import ceil

import anyio

from bridge.backoff import Backoff
from bridge.concurrency import alongside
from bridge.errors import DatabaseError, SilenceError
from bridge.flow.pace import Pace
from bridge.publisher import Pool, Publisher
from bridge.settings import Settings
from bridge.stream.batch_size import BatchSize
from bridge.stream.delivery import Delivery
from bridge.stream.event_log import EventLog
from bridge.stream.grace import Grace
from bridge.stream.listener import Listener
from bridge.stream.poller import Poller
from bridge.stream.reader import Reader
from bridge.stream.takeover import depose_frozen, keep_talking
from bridge.telemetry.health import State
from bridge.telemetry.recorder import Recorder

# Largest factor for the usual patience with the database. It turns half a minute into half an hour.
_MOST_PATIENCE = 64

# Seconds between two looks where notifications do not arrive.
_POLL = 0.5


class Relay:
    """The worker that delivers a stream. Any number of relays may run: one owns the stream, the others stand by."""

    def __init__(self, stream: str, settings: Settings, publisher: Publisher | Pool, recorder: Recorder) -> None:
        self._stream = stream
        self._settings = settings
        self._publisher = publisher
        self._recorder = recorder
        self._size = BatchSize(_largest_batch(settings))
        self._grace = Grace()
        self._patience = 1
        """Factor for the usual time that an answer of the database may take."""

    @property
    def gave_up(self) -> bool:
        """Whether a batch in flight was given up at the end of the grace period. It will be published again."""
        return self._grace.gave_up

    async def run(self) -> None:
        """Serves the stream until cancelled, and connects again after an outage of the database. Raises ConfigError
        when a retry can't help."""
        backoff = Backoff()
        self._recorder.enter(State.CONNECTING)
        while True:
            try:
                await self._serve(backoff)
            except DatabaseError as error:
                self._recorder.database_away(error)
                if isinstance(error, SilenceError):
                    # The server may be alive and busy: a look reads the whole backlog, which may not be in memory.
                    self._patience = min(2 * self._patience, _MOST_PATIENCE)
            await anyio.sleep(backoff.next())

    def stop_within(self, seconds: float) -> None:
        """Limits the time of a batch in flight after the relay is cancelled. Then the whole batch is given up."""
        self._grace.end_within(seconds)

    async def _serve(self, backoff: Backoff) -> None:
        settings, stream = self._settings, self._stream
        url, flushed_only = settings.database_url, not settings.publish_unflushed
        opened = EventLog.open(url, stream, self._size.now, flushed_only=flushed_only, patience=self._patience)
        async with opened as log:
            await log.require_writable()
            self._recorder.standby()
            async with alongside(partial(depose_frozen, url, stream, settings.takeover_after)):
                adopted = await log.own()
            self._recorder.owning(adopted)
            async with alongside(partial(keep_talking, log.say, self._is_busy, settings.takeover_after)):
                await self._own(log, backoff)

    async def _own(self, log: EventLog, backoff: Backoff) -> None:
        rate = self._settings.catch_up_rate
        reader = Reader(log, self._size, rate)
        delivery = Delivery(log, reader, self._publisher, Pace(rate), self._grace, self._recorder)
        await delivery.begin()
        self._recorder.serving()
        async with self._wakeups(log) as listener:
            async for wakeup in listener:
                self._recorder.look(wakeup, listener.queue_usage)
                await delivery.drain(listener)
                self._patience = 1
                backoff.reset()

    def _wakeups(self, log: EventLog) -> AbstractAsyncContextManager[Listener | Poller]:
        settings = self._settings
        if log.hears:
            return Listener.open(settings.database_url, self._stream, settings.poll_floor)
        # Each look also shows standbys that this owner lives. With fewer looks they would consider it frozen.
        period = min(_POLL, settings.poll_floor, settings.takeover_after / 2)
        self._recorder.late(period)
        return nullcontext(Poller(period))

    def _is_busy(self) -> bool:
        return self._recorder.is_busy


def _largest_batch(settings: Settings) -> int:
    """Returns the largest batch. With a rate it is at most one second's tasks, so that tasks come evenly."""
    return min(settings.batch_size, ceil(settings.catch_up_rate or settings.batch_size))
