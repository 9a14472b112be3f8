"""Relay: reads windows of one stream, publishes them, advances the position.

    CONNECTING --> STANDBY --owner--> RUNNING <--> BROKER_AWAY     (position unmoved, nothing burnt, paced tries)
        ^                               |
        '------- DATABASE_AWAY <--------'                          (reconnect; LISTEN first, then look)

At least once: the position moves after the broker has confirmed, so a crash in between publishes the same window again,
with the same task ids.
"""

import logging
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import partial

import anyio
import anyio.to_thread

from bridge.backoff import Backoff
from bridge.call import Call, Target, call_for
from bridge.config import Settings
from bridge.errors import BrokerError, DatabaseError
from bridge.event_log import Batch, EventLog
from bridge.health import Health, State
from bridge.listener import Listener
from bridge.metrics import Metrics
from bridge.publisher import Publisher, Refusal

logger = logging.getLogger(__name__)


class Relay:
    """The one that moves a stream; any number may run, one is the owner, the others stand by."""

    def __init__(self, stream: str, settings: Settings, publisher: Publisher, health: Health, metrics: Metrics) -> None:
        self._stream = stream
        self._settings = settings
        self._publisher = publisher
        self._health = health
        self._metrics = metrics
        self._targets: Mapping[str, Target] = {}
        self._generation = -1
        self._batch = anyio.CancelScope(shield=True)

    async def run(self) -> None:
        """Serves the stream until cancelled; a lost database is connected to again. ConfigError ends it."""
        backoff = Backoff()
        while True:
            self._state(State.CONNECTING)
            try:
                await self._serve(backoff)
            except DatabaseError as error:
                self._metrics.database_errors.labels(self._stream).inc()
                if self._state(State.DATABASE_AWAY) is not State.DATABASE_AWAY:
                    logger.warning("database away, reconnecting", extra={"stream": self._stream, "reason": str(error)})
            await anyio.sleep(backoff.next())

    def stop_within(self, seconds: float) -> None:
        """A batch in flight may take this long to finish once the relay is cancelled; then it is given up whole."""
        self._batch.deadline = anyio.current_time() + seconds

    async def _serve(self, backoff: Backoff) -> None:
        settings = self._settings
        async with EventLog.open(settings.database_url, self._stream, settings.batch_size) as log:
            self._state(State.STANDBY)
            await log.own()
            async with Listener.open(settings.database_url, self._stream, settings.poll_floor) as listener:
                async for wakeup in listener:
                    logger.debug("look", extra={"stream": self._stream, "wakeup": wakeup})
                    await self._drain(log)
                    backoff.reset()

    async def _drain(self, log: EventLog) -> None:
        """Delivers until nothing is left. No transaction is open while we talk to the broker."""
        while True:
            batch = await log.read()
            if self._state(State.RUNNING) is not State.RUNNING:
                logger.info("serving", extra={"stream": self._stream})
            if not batch.events:
                return
            await self._refresh(log, batch)
            await self._deliver(log, batch)

    async def _refresh(self, log: EventLog, batch: Batch) -> None:
        if batch.generation != self._generation:
            self._generation, self._targets = await log.targets()

    async def _deliver(self, log: EventLog, batch: Batch) -> None:
        calls = [call_for(event, self._targets[event.watch]) for event in batch.events]
        backoff = Backoff()
        while True:
            try:
                # Finished or given up whole, also when we are told to stop in the middle.
                with anyio.CancelScope(shield=True) as self._batch:
                    refusals = await anyio.to_thread.run_sync(
                        partial(self._publisher.publish, calls), abandon_on_cancel=True
                    )
                    await self._settle(log, batch, calls, refusals)
                    return
            except BrokerError as error:
                self._metrics.broker_errors.labels(self._stream).inc()
                if self._state(State.BROKER_AWAY) is not State.BROKER_AWAY:
                    logger.warning("broker away, trying again", extra={"stream": self._stream, "reason": str(error)})
            await anyio.sleep(backoff.next())

    async def _settle(self, log: EventLog, batch: Batch, calls: list[Call], refusals: list[Refusal]) -> None:
        """The broker has the batch: bury what can't be published, then move the position."""
        if self._state(State.RUNNING) is State.BROKER_AWAY:
            logger.info("broker is back", extra={"stream": self._stream})
        for refusal in refusals:
            event = refusal.call.event
            logger.error(
                "dead letter",
                extra={
                    "stream": self._stream,
                    "watch": event.watch,
                    "id": event.id,
                    "reason": refusal.reason,
                },
            )
            await log.bury(event, refusal.reason)
            self._metrics.dead_letters.labels(self._stream, event.watch).inc()
        await log.move(batch.position)
        refused = {refusal.call.task_id for refusal in refusals}
        for call in calls:
            if call.task_id not in refused:
                self._metrics.published.labels(self._stream, call.target.name).inc()
        self._metrics.batch_size.labels(self._stream).observe(len(calls))
        age = datetime.now(UTC) - min(event.at for event in batch.events)
        self._metrics.lag.labels(self._stream).set(age.total_seconds())

    def _state(self, state: State) -> State | None:
        self._metrics.state.labels(self._stream).state(state.value)
        return self._health.set(self._stream, state)
