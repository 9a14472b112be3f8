"""Health: what each stream's relay does and has not delivered yet, and whether the process lives."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from enum import Enum
from time import monotonic

# Seconds. Younger events are on their way and do not count as a backlog.
_BEHIND = 1.0


class State(Enum):
    """A relay's state. In the states STANDBY and RUNNING the relay is ready."""

    CONNECTING = "connecting"
    STANDBY = "standby"
    RUNNING = "running"
    DATABASE_AWAY = "database away"
    BROKER_AWAY = "broker away"


class Health:
    """The state of every stream that this process serves. The event loop writes it, other threads read it."""

    def __init__(self, stuck_after: float = 30.0, no_progress: float = 300.0) -> None:
        """Sets two limits in seconds. Without a beat for `stuck_after`, the event loop is stuck. A relay that publishes
        one batch for longer than `no_progress` is stuck."""
        self._stuck_after = stuck_after
        self._no_progress = no_progress
        self._beaten = monotonic()
        self._states: dict[str, State] = {}
        self._oldest: dict[str, datetime] = {}
        self._in_hand: dict[str, int] = {}
        self._counted: dict[str, tuple[int, datetime | None]] = {}
        self._publishing: dict[str, float] = {}

    def beat(self) -> None:
        """Notes that the event loop runs. The event loop calls it about once a second."""
        self._beaten = monotonic()

    def is_alive(self) -> bool:
        """Whether the event loop still runs."""
        return monotonic() - self._beaten < self._stuck_after

    def set(self, stream: str, state: State) -> State | None:
        """Notes the new state and returns the previous one."""
        before = self._states.get(stream)
        self._states[stream] = state
        if state is State.STANDBY:
            # The owner is responsible now for the events that this relay had not delivered.
            self.hold(stream, None, 0)
        return before

    def hold(self, stream: str, oldest: datetime | None, number: int) -> None:
        """Notes the events that the relay is delivering: the time of the oldest (None: all are delivered) and their
        number."""
        self._in_hand[stream] = number
        if oldest is None:
            self._oldest.pop(stream, None)
            self._counted.pop(stream, None)
        else:
            self._oldest[stream] = oldest

    def count(self, stream: str, waiting: int, oldest: datetime | None) -> None:
        """Notes how many events wait in a stream that is behind, as counted in the database."""
        if self.is_behind(stream):
            self._counted[stream] = waiting, oldest

    def is_busy(self, stream: str) -> bool:
        """Whether the relay has events to deliver, or waits for the broker."""
        return stream in self._oldest or self._states.get(stream) is State.BROKER_AWAY

    def is_behind(self, stream: str) -> bool:
        """Whether more events wait than the batch on its way, so that a count is useful. If not, forgets an older
        count."""
        if self._states.get(stream) is State.BROKER_AWAY or self.lag(stream) > _BEHIND:
            return True
        self._counted.pop(stream, None)
        return False

    def behind(self) -> list[str]:
        """Returns the streams that are behind."""
        return [stream for stream in list(self._states) if self.is_behind(stream)]

    def lag(self, stream: str) -> float:
        """Returns the age in seconds of the oldest known event that is not delivered. It grows with the clock."""
        _, counted = self._counted.get(stream, (0, None))
        oldest = self._oldest.get(stream, counted)
        return 0.0 if oldest is None else max(0.0, (datetime.now(UTC) - oldest).total_seconds())

    def waiting(self, stream: str) -> int:
        """Returns the number of known events that are not delivered."""
        counted, _ = self._counted.get(stream, (0, None))
        return max(counted, self._in_hand.get(stream, 0))

    @contextmanager
    def publishing(self, stream: str) -> Iterator[None]:
        """Marks one try to publish. The broker's timeouts limit a try, so one that does not end is stuck."""
        self._publishing[stream] = monotonic()
        try:
            yield
        finally:
            self._publishing.pop(stream, None)

    def stuck(self) -> list[str]:
        """Returns the streams whose relay makes no progress although the database and the broker are there."""
        now = monotonic()
        return [s for s, since in list(self._publishing.items()) if now - since > self._no_progress]

    def is_ready(self) -> bool:
        """Whether this process serves every stream, or would take over at once if the stream's owner died."""
        states = list(self._states.values())
        return bool(states) and all(state in (State.RUNNING, State.STANDBY) for state in states)

    def as_dict(self) -> dict[str, str]:
        """Returns the state of each stream as text."""
        return {stream: state.value for stream, state in sorted(self._states.items())}
