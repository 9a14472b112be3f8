"""Types for the code of tasks: what a task gets from the bridge.

@app.task
def reprice(event: bridge.task.Event) -> None: ...
"""

from typing import Any, Literal, TypedDict


class Event(TypedDict):
    """The argument of a task whose watch says `call = "event"`. All keys are always there."""

    id: int
    watch: str
    operation: Literal["insert", "update", "delete", "truncate"]
    key: list[Any] | None
    """The key's values in order. None for a truncate."""
    old_key: list[Any] | None
    """The key before an update that changed it."""
    old: dict[str, Any] | None
    new: dict[str, Any] | None
    changed: list[str] | None
    at: str
    """The time when the trigger ran, in ISO 8601."""
    context: Any


class Header(TypedDict):
    """The header `bridge` of every task that the bridge starts: `self.request.bridge`."""

    id: int
    watch: str
    operation: Literal["insert", "update", "delete", "truncate", "send"]
    at: str
    context: Any


class CoalescedHeader(Header):
    """The header of a task that stands for several events."""

    coalesced: int
