"""Call: one Celery task to be started, made from an event and its watch."""

from typing import Any
from uuid import UUID, uuid5

import msgspec

from bridge.event import Event

# Made once with uuid4; changing it would give redelivered events new task ids.
NAMESPACE = UUID("6a1f2f0e-6d0b-4c39-9d53-0c7c5e1b7f5a")


class Target(msgspec.Struct, frozen=True, forbid_unknown_fields=False):
    """What the relay needs of a watch: the task and how to call it."""

    name: str
    task: str
    options: dict[str, Any]


class Call(msgspec.Struct, frozen=True):
    """A task's name, arguments and options, with the id that every redelivery repeats."""

    event: Event
    target: Target
    task_id: str
    args: tuple[Any, ...]
    headers: dict[str, Any]


def call_for(event: Event, target: Target) -> Call:
    """The call that an event asks for.

    The key's values are the positional arguments, as in `task.delay(obj.pk)`; with the option `call = "event"` one dict
    is the only argument. The header `bridge` says which change it was, either way.
    """
    header = {
        "id": event.id,
        "watch": event.watch,
        "operation": event.op,
        "at": event.at.isoformat(),
    }
    args = (as_argument(event),) if target.options.get("call") == "event" else tuple(event.key or ())
    return Call(
        event=event,
        target=target,
        task_id=str(uuid5(NAMESPACE, f"{event.watch}/{event.id}")),
        args=args,
        headers={**target.options.get("headers", {}), "bridge": header},
    )


def as_argument(event: Event) -> dict[str, Any]:
    """The dict that a task with `call = "event"` gets."""
    data = event.data or {}
    return {
        "id": event.id,
        "watch": event.watch,
        "operation": event.op,
        "key": event.key,
        "old_key": data.get("old_key"),
        "old": data.get("old"),
        "new": data.get("new"),
        "changed": data.get("changed"),
        "at": event.at.isoformat(),
        "context": event.context,
    }
