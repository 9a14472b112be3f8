"""Health: what each stream's relay is doing, for people and for supervisors."""

from enum import Enum


class State(Enum):
    """A relay's state. Ready are those in which everything that the relay needs answers."""

    CONNECTING = "connecting"
    STANDBY = "standby"
    RUNNING = "running"
    DATABASE_AWAY = "database away"
    BROKER_AWAY = "broker away"


class Health:
    """The state of every stream that this process serves; written by the relays, read by another thread."""

    def __init__(self) -> None:
        self._states: dict[str, State] = {}

    def set(self, stream: str, state: State) -> State | None:
        """Notes the new state and returns the one before."""
        before = self._states.get(stream)
        self._states[stream] = state
        return before

    def is_ready(self) -> bool:
        """Whether every stream is served by this process, or would be at once if its owner died."""
        states = list(self._states.values())
        return bool(states) and all(state in (State.RUNNING, State.STANDBY) for state in states)

    def as_dict(self) -> dict[str, str]:
        """Stream to state, as text."""
        return {stream: state.value for stream, state in sorted(self._states.items())}
