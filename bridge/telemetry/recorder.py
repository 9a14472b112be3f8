"""Recorder: the one thing that a relay reports to. Logs, metrics and health are made here."""

import logging
from collections import Counter
from collections.abc import Sequence
from contextlib import AbstractContextManager

from bridge.adoption import Adoption
from bridge.batch import Batch
from bridge.call import Refusal, Targets
from bridge.errors import BrokerError, DatabaseError, NotReadyError, PositionError
from bridge.event import Event
from bridge.reason import kept
from bridge.telemetry.health import Health, State
from bridge.telemetry.prometheus import Metrics

logger = logging.getLogger(__name__)


class Recorder:
    """Records what happens to one stream."""

    def __init__(self, stream: str, health: Health, metrics: Metrics) -> None:
        self._stream = stream
        self._health = health
        self._metrics = metrics
        self._state: State | None = None
        self._outage: DatabaseError | None = None
        """The outage of the database that was logged. None: the database is there."""

    def enter(self, state: State) -> bool:
        """Notes the relay's state. Returns whether it is news."""
        is_news = state is not self._state
        self._state = state
        self._metrics.state.labels(self._stream).state(state.value)
        self._health.set(self._stream, state)
        return is_news

    def database_away(self, error: DatabaseError) -> None:
        """Notes that the database is away. Logs it once for each kind of outage, and for each thing that is missing."""
        self._metrics.database_errors.labels(self._stream).inc()
        self.enter(State.DATABASE_AWAY)
        is_missing = isinstance(error, NotReadyError) and str(self._outage) != str(error)
        if type(self._outage) is not type(error) or is_missing:
            logger.warning("database away, reconnecting", extra={"stream": self._stream, "reason": str(error)})
        self._outage = error

    def standby(self) -> None:
        """Notes that the relay waits for the ownership of the stream. A position that can't be moved is still an
        outage then."""
        self.enter(State.STANDBY)
        if not isinstance(self._outage, PositionError):
            self.database_back()

    def database_back(self) -> None:
        """Notes that the database does what the relay needs."""
        if self._outage is not None:
            logger.info("database is back", extra={"stream": self._stream})
        self._outage = None

    def owning(self, adopted: Adoption | None) -> None:
        """Notes that the relay owns the stream, and whether it adopted the log."""
        self.database_back()
        if adopted is not None:
            logger.warning(
                "log adopted",
                extra={"stream": self._stream, "reason": adopted.reason, "waiting": adopted.waiting},
            )

    def serving(self) -> None:
        """Notes that the relay is connected to the broker, and begins to deliver."""
        logger.info("serving", extra={"stream": self._stream})

    def late(self, seconds: float) -> None:
        """Notes that notifications do not arrive through this address, so tasks start late."""
        logger.warning(
            "this address leads through a pooler in transaction mode (PgBouncer?): tasks start up to %g s late. "
            "Give the bridge a direct address to avoid that",
            seconds,
            extra={"stream": self._stream, "seconds": seconds},
        )

    def look(self, wakeup: str, queue_usage: float) -> None:
        """Notes that the relay looks for events."""
        self._metrics.notification_queue.set(queue_usage)
        logger.debug("look", extra={"stream": self._stream, "wakeup": wakeup})

    def broker_away(self, error: BrokerError) -> None:
        """Notes that the broker is away, or refuses messages."""
        self._metrics.broker_errors.labels(self._stream).inc()
        if self.enter(State.BROKER_AWAY):
            logger.warning("broker away, trying again", extra={"stream": self._stream, "reason": str(error)})

    def broker_there(self) -> None:
        """Notes that the broker did what the relay needed."""
        was_away = self._state is State.BROKER_AWAY
        self.enter(State.RUNNING)
        if was_away:
            logger.info("broker is back", extra={"stream": self._stream})

    @property
    def is_busy(self) -> bool:
        """Whether the relay has events to deliver, or waits for the broker."""
        return self._health.is_busy(self._stream)

    def holding(self, batch: Batch) -> None:
        """Notes the batch that the relay delivers. An empty batch: all events are delivered."""
        if batch.number:
            self._health.hold(self._stream, batch.oldest, batch.number)
        else:
            self._health.hold(self._stream, None, 0)

    def publishing(self) -> AbstractContextManager[None]:
        """Returns a context for one try to publish."""
        return self._health.publishing(self._stream)

    def dead_letters(self, refusals: Sequence[Refusal], targets: Targets) -> None:
        """Notes the events that become dead letters."""
        for event, reason in ((refusal.event, kept(refusal.reason)) for refusal in refusals):
            logger.error(
                "dead letter", extra={"stream": self._stream, "watch": event.watch, "id": event.id, "reason": reason}
            )
            # A row that a person wrote may have any name as its watch, and a label of a metric is never freed.
            known = event.watch if event.watch in targets.watches else ""
            self._metrics.dead_letters.labels(self._stream, known).inc(len(event.origins))

    def delivered(self, batch: Batch, refusals: Sequence[Refusal], skipped: Sequence[Event]) -> None:
        """Notes that the position has moved behind this batch. The skipped events belong to shadow watches; with the
        batch's own writes, they are those that start no task."""
        # Compare the objects, because two events may have one id.
        left_out = {id(event) for event in (*(refusal.event for refusal in refusals), *skipped)}
        published = [event for event in batch.events if id(event) not in left_out]
        taskless = [*skipped, *batch.own_writes]
        for counter, events in ((self._metrics.published, published), (self._metrics.skipped, taskless)):
            counts: Counter[str] = Counter()
            for event in events:
                counts[event.watch] += 1 + len(event.merged)
            for watch, count in counts.items():
                counter.labels(self._stream, watch).inc(count)
        if skipped:
            logger.debug("skipped events of shadow watches", extra={"stream": self._stream, "number": len(skipped)})
        self._metrics.batch_size.labels(self._stream).observe(batch.number)
        self._metrics.delivery.labels(self._stream).observe(batch.age)
