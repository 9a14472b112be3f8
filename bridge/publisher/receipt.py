"""Receipt: what became of the events of one `publish`."""

from collections.abc import Sequence

import msgspec

from bridge.call import Refusal
from bridge.event import Event


class Receipt(msgspec.Struct, array_like=True):
    """The answer for a batch. An event is named by its place in the batch, since two events may have one id."""

    refused: dict[int, str] = msgspec.field(default_factory=dict)
    """The reason for each event that can't be published as it is, even with a healthy broker."""
    outage: str | None = None
    """Why it is not certain that the broker has the other events. None: it has all of them."""
    arrived: set[int] = msgspec.field(default_factory=set)
    """The events that the broker certainly has. With an outage, only the others have to be published again."""

    def refusals(self, events: Sequence[Event]) -> list[Refusal]:
        """Returns the refused ones of these events, in order."""
        return [Refusal(events[place], reason) for place, reason in sorted(self.refused.items())]

    def missing(self, events: Sequence[Event]) -> list[Event]:
        """Returns those of these events that have to be published again, the refused ones too: they are refused again,
        so that they become dead letters together with their batch."""
        return [event for place, event in enumerate(events) if place not in self.arrived]
