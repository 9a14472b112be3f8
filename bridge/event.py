"""Event: one immutable row of the log."""

from datetime import datetime
from typing import Any

import msgspec


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
    merged: tuple[int, ...] = ()
    """Ids of older events that it stands for too, in order, where the watch coalesces."""
