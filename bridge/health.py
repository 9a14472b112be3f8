"""Health: what each stream's relay does and has in hand, and whether the process lives."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from enum import Enum
from time import monotonic

# Younger events are merely on their way; seconds.
_BEHIND = 1.0


class State(Enum):
    """A relay's state. Ready are those in which everything that the relay needs answers."""

    CONNECTING = "connecting"
    STANDBY = "standby"
    RUNNING = "running"
    DATABASE_AWAY = "database away"
    BROKER_AWAY = "broker away"


class Health:
    """The state of every stream that this process serves; written by the event loop, read by other threads."""

    def __init__(self, stuck_after: float = 30.0, no_progress: float = 300.0) -> None:
        """Seconds after which an event loop without a beat is stuck, and a relay that publishes one batch."""
        self._stuck_after = stuck_after
        self._no_progress = no_progress
        self._beaten = monotonic()
        self._states: dict[str, State] = {}
        self._oldest: dict[str, datetime] = {}
        self._in_hand: dict[str, int] = {}
        self._counted: dict[str, tuple[int, datetime | None]] = {}
        self._publishing: dict[str, float] = {}

    def beat(self) -> None:
        """Called by the event loop every second or so."""
        self._beaten = monotonic()

    def is_alive(self) -> bool:
        """Whether the event loop still turns."""
        return monotonic() - self._beaten < self._stuck_after

    def set(self, stream: str, state: State) -> State | None:
        """Notes the new state and returns the one before."""
        before = self._states.get(stream)
        self._states[stream] = state
        if state is State.STANDBY:
            # Whatever it had in hand is the owner's now.
            self.hold(stream, None, 0)
        return before

    def hold(self, stream: str, oldest: datetime | None, number: int) -> None:
        """Notes what the relay has in hand: the oldest event (None: all is delivered), and how many."""
        self._in_hand[stream] = number
        if oldest is None:
            self._oldest.pop(stream, None)
            self._counted.pop(stream, None)
        else:
            self._oldest[stream] = oldest

    def count(self, stream: str, waiting: int, oldest: datetime | None) -> None:
        """Notes what the database said of a stream that is behind."""
        if self.is_behind(stream):
            self._counted[stream] = waiting, oldest

    def is_busy(self, stream: str) -> bool:
        """Whether the relay has something in hand, or would if the broker let it."""
        return stream in self._oldest or self._states.get(stream) is State.BROKER_AWAY

    def is_behind(self, stream: str) -> bool:
        """Whether more waits than a batch on its way, so that it is worth counting; forgets an older count if not."""
        if self._states.get(stream) is State.BROKER_AWAY or self.lag(stream) > _BEHIND:
            return True
        self._counted.pop(stream, None)
        return False

    def behind(self) -> list[str]:
        """Streams that are behind."""
        return [stream for stream in list(self._states) if self.is_behind(stream)]

    def lag(self, stream: str) -> float:
        """Seconds since the oldest event that is known and not delivered; it grows by the clock."""
        _, counted = self._counted.get(stream, (0, None))
        oldest = self._oldest.get(stream, counted)
        return 0.0 if oldest is None else max(0.0, (datetime.now(UTC) - oldest).total_seconds())

    def waiting(self, stream: str) -> int:
        """Events that are known and not delivered."""
        counted, _ = self._counted.get(stream, (0, None))
        return max(counted, self._in_hand.get(stream, 0))

    @contextmanager
    def publishing(self, stream: str) -> Iterator[None]:
        """Around one try to publish: it is bounded by the broker's timeouts, so one that never ends is stuck."""
        self._publishing[stream] = monotonic()
        try:
            yield
        finally:
            self._publishing.pop(stream, None)

    def stuck(self) -> list[str]:
        """Streams whose relay makes no progress though nothing is away."""
        now = monotonic()
        return [s for s, since in list(self._publishing.items()) if now - since > self._no_progress]

    def is_ready(self) -> bool:
        """Whether every stream is served by this process, or would be at once if its owner died."""
        states = list(self._states.values())
        return bool(states) and all(state in (State.RUNNING, State.STANDBY) for state in states)

    def as_dict(self) -> dict[str, str]:
        """Stream to state, as text."""
        return {stream: state.value for stream, state in sorted(self._states.items())}
