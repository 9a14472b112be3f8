"""Event: one immutable row of the log."""

from datetime import UTC, datetime
from typing import Any

import msgspec

# The time of an event whose real time Python can't represent (infinity, the year 10000). Such an event has a flaw.
NO_TIME = datetime.max.replace(tzinfo=UTC)


class Origin(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """The identity of an event. An id alone is not enough: it can be given twice after a failover or a restored
    backup."""

    id: int
    at: datetime
    xid: str
    """The transaction that wrote it into the log. It helps to find the row."""


class Event(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """One committed change, as the capture trigger wrote it. It is sent between processes as an array."""

    id: int
    watch: str
    op: str
    """The operation: insert, update, delete, truncate or send."""
    key: list[Any] | None
    """The key's values in order. None for a truncate."""
    data: dict[str, Any] | None
    """The values old, new, changed and old_key, each only if the watch asks for it and it is not empty."""
    context: str | None
    at: datetime
    """The time when the trigger ran (not when the transaction committed)."""
    xid: str = "0"
    merged: tuple[Origin, ...] = ()
    """Older events that were coalesced into this one, in order."""
    flaw: str | None = None
    """The reason why the row can't be used. If it can't be read, key and data are None, whatever the log has."""

    @property
    def origins(self) -> tuple[Origin, ...]:
        """All events that this one stands for. The last is the event itself."""
        return (*self.merged, Origin(self.id, self.at, self.xid))
