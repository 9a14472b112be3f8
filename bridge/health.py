"""Health: what each stream's relay does and has in hand, and whether the process lives."""

from datetime import UTC, datetime
from enum import Enum
from time import monotonic


class State(Enum):
    """A relay's state. Ready are those in which everything that the relay needs answers."""

    CONNECTING = "connecting"
    STANDBY = "standby"
    RUNNING = "running"
    DATABASE_AWAY = "database away"
    BROKER_AWAY = "broker away"


class Health:
    """The state of every stream that this process serves; written by the event loop, read by other threads."""

    def __init__(self, stuck_after: float = 30.0) -> None:
        """`stuck_after`: seconds without a beat after which the event loop is stuck."""
        self._stuck_after = stuck_after
        self._beaten = monotonic()
        self._states: dict[str, State] = {}
        self._oldest: dict[str, datetime] = {}
        self._waiting: dict[str, int] = {}

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

    def hold(self, stream: str, oldest: datetime | None, waiting: int) -> None:
        """Notes the oldest event that the relay knows and has not delivered (None: there is none), and how many."""
        self._waiting[stream] = waiting
        if oldest is None:
            self._oldest.pop(stream, None)
        else:
            self._oldest[stream] = oldest

    def is_busy(self, stream: str) -> bool:
        """Whether the relay has something in hand, or would if the broker let it."""
        return stream in self._oldest or self._states.get(stream) is State.BROKER_AWAY

    def lag(self, stream: str) -> float:
        """Seconds since the oldest event that is known and not delivered; it grows by the clock."""
        oldest = self._oldest.get(stream)
        return 0.0 if oldest is None else max(0.0, (datetime.now(UTC) - oldest).total_seconds())

    def waiting(self, stream: str) -> int:
        """Events that are known and not delivered."""
        return self._waiting.get(stream, 0)

    def is_ready(self) -> bool:
        """Whether every stream is served by this process, or would be at once if its owner died."""
        states = list(self._states.values())
        return bool(states) and all(state in (State.RUNNING, State.STANDBY) for state in states)

    def as_dict(self) -> dict[str, str]:
        """Stream to state, as text."""
        return {stream: state.value for stream, state in sorted(self._states.items())}
