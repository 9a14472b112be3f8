"""Batch: some events that are delivered together, and the position after them."""

from collections.abc import Sequence
from datetime import UTC, datetime

import msgspec

from bridge.event import Event


class Position(msgspec.Struct, frozen=True):
    """The point up to which a stream has been delivered.

    Delivered is all that is visible in the snapshot `seen`. While a large window is walked, delivered is also what is
    visible in the snapshot `upto` with an id up to `after_id`. Several events may have one id (a dead letter that is
    retried after a failover, a row that somebody wrote): `after_id` is below it until all of them are delivered.
    """

    seen: str
    upto: str | None = None
    after_id: int | None = None
    largest_id: int = 0
    """Largest id of the delivered events. After a move to another cluster, it shows which events came later."""


class Batch(msgspec.Struct, frozen=True):
    """Some events in order of id, and the position after their delivery."""

    events: Sequence[Event]
    position: Position
    generation: int
    """Generation of the watches when this batch was read."""
    number: int = 0
    """Number of events that were read. `events` has fewer if some were coalesced, or start nothing."""
    oldest: datetime | None = None
    """Time of the oldest event that was read."""
    weight: int = 0
    """Characters of JSON that were read."""
    own_writes: Sequence[Event] = ()
    """The events that a watch ignores, since a task of this very watch wrote them into its own row."""

    def joined(self, more: "Batch", events: Sequence[Event]) -> "Batch":
        """Returns this batch and the one after it as one, with these events."""
        return msgspec.structs.replace(
            more,
            events=events,
            number=self.number + more.number,
            oldest=min(filter(None, (self.oldest, more.oldest)), default=None),
            weight=self.weight + more.weight,
            own_writes=(*self.own_writes, *more.own_writes),
        )

    @property
    def age(self) -> float:
        """Seconds since the oldest event of the batch."""
        return 0.0 if self.oldest is None else (datetime.now(UTC) - self.oldest).total_seconds()
