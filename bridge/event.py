"""Event: one immutable row of the log."""

from datetime import UTC, datetime
from typing import Any

import msgspec

# The time of an event whose own one Python can't say (infinity, the year 10000); such an event has a flaw.
NO_TIME = datetime.max.replace(tzinfo=UTC)


class Origin(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """What tells an event from all others: an id alone is given twice after a failover or a restored backup."""

    id: int
    at: datetime
    xid: str
    """The transaction that wrote it into the log, which leads to the row."""


class Event(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """One committed change, as the capture trigger wrote it. It travels between processes as an array."""

    id: int
    watch: str
    op: str
    """insert, update, delete or truncate"""
    key: list[Any] | None
    """The key's values in order; None for a truncate."""
    data: dict[str, Any] | None
    """old, new, changed, old_key: each only where the watch asks for it and it says something."""
    context: str | None
    at: datetime
    """When the trigger ran (not when the transaction committed)."""
    xid: str = "0"
    merged: tuple[Origin, ...] = ()
    """Older events that it stands for too, in order, where the watch coalesces."""
    flaw: str | None = None
    """Why the row can't be read; then key and data are None, whatever they are in the log."""

    @property
    def origins(self) -> tuple[Origin, ...]:
        """All events that it stands for, itself the last one."""
        return (*self.merged, Origin(self.id, self.at, self.xid))
