"""Chain: tasks whose writes start tasks. The context of an event says how it came about, and where it has to end.

A context is whatever the writer has set: any role that may write a watched table can set anything. So a value of the
wrong form counts as absent, and an event can only be judged by its own context.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any, TypeGuard

from bridge.event import Event
from bridge.scope import RESERVED

MOST = 20
"""Most tasks in a chain."""

_NAME = 100
_PARENT = re.compile(r"(?!ff)[0-9a-f]{2}-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}")
_STATE = re.compile(r"[ -~]{1,512}")


def depth_of(context: object) -> int:
    """Returns the number of tasks behind an event: 0 if no task wrote it."""
    depth = context.get("depth") if isinstance(context, dict) else None
    return depth if type(depth) is int and depth > 0 else 0


def watches_of(context: object) -> list[str]:
    """Returns the watches whose tasks led to an event, the newest last."""
    chain = context.get("chain") if isinstance(context, dict) else None
    if not isinstance(chain, list):
        return []
    return [name[:_NAME] for name in chain[-MOST:] if isinstance(name, str)]


def cause_of(context: object) -> int | None:
    """Returns the id of the event that started the task which has this context."""
    cause = context.get("cause") if isinstance(context, dict) else None
    number = cause.get("id") if isinstance(cause, dict) else None
    return number if type(number) is int else None


def is_too_deep(context: object) -> bool:
    """Whether the task of an event with this context would be one too many."""
    return depth_of(context) >= MOST


def too_deep(context: object, watch: str) -> str:
    """Returns the reason for a dead letter, with the circle."""
    return (
        f"{MOST} tasks have started each other, and this would be the next one: "
        f"{' -> '.join(_circle(watches_of(context), watch))}. Let the task write only what differs, or set "
        'own_writes = "ignore" in the watch; see docs/howto/my-task-never-stops.md'
    )


def is_own_write(event: Event, context: object) -> bool:
    """Whether a task of this very watch wrote this event, for the very row that the task was started for."""
    if event.key is None or not isinstance(context, dict) or not isinstance(cause := context.get("cause"), dict):
        return False
    key = cause.get("key")
    if cause.get("watch") != event.watch or not isinstance(key, list):
        return False
    return key in (event.key, (event.data or {}).get("old_key"))


def task_context(name: str, task_id: str, header: object, key: object) -> dict[str, Any]:
    """Returns the context of what a task writes. `header` is the message's header `bridge`, if it has one."""
    own: dict[str, Any] = {"task": name, "task_id": task_id}
    if not isinstance(header, Mapping):
        return own
    before = header.get("context")
    watch = header.get("watch")
    watch = watch[:_NAME] if isinstance(watch, str) else None
    # A task that was sent by name does not count: a task may send itself again for ever, on purpose.
    is_sent = header.get("operation") == "send"
    return {
        **_inherited(before),
        **own,
        "cause": {"id": header.get("id"), "watch": watch, "key": key},
        "depth": min(depth_of(before), MOST) + (not is_sent),
        "chain": [*watches_of(before), *([] if watch is None or is_sent else [watch])][-MOST:],
    }


def key_of(header: object, args: object) -> list[Any] | None:
    """Returns the key of the row that a task was started for, from the message's header and its arguments."""
    if not isinstance(header, Mapping) or not isinstance(args, list | tuple) or header.get("operation") == "send":
        return None
    match args:
        case [{"id": number, "watch": watch, "key": key}] if (number, watch) == (header.get("id"), header.get("watch")):
            return key if isinstance(key, list) else None
        case _:
            return list(args)


def trace_of(context: object) -> dict[str, str]:
    """Returns the W3C trace context as headers of the message, if there is one."""
    if not isinstance(context, dict) or not is_traceparent(parent := context.get("traceparent")):
        return {}
    state = context.get("tracestate")
    return {"traceparent": parent, **({"tracestate": state} if is_tracestate(state) else {})}


def is_traceparent(value: object) -> TypeGuard[str]:
    """Whether this is a traceparent as the recommendation of the W3C describes it."""
    return isinstance(value, str) and _PARENT.fullmatch(value) is not None


def is_tracestate(value: object) -> TypeGuard[str]:
    """Whether this can be a tracestate: printable ASCII, up to the 512 characters that everybody must pass on."""
    return isinstance(value, str) and _STATE.fullmatch(value) is not None


def _inherited(context: object) -> dict[str, Any]:
    """Returns the values that a task's writes have in common with the change that started the task."""
    if context is None:
        return {}
    if not isinstance(context, dict):
        return {"said": context}
    return {name: value for name, value in context.items() if isinstance(name, str) and name not in RESERVED}


def _circle(chain: Sequence[str], watch: str) -> Sequence[str]:
    """Returns the way from the last time that this watch was in the chain; all of the chain if it was not."""
    places = [place for place, name in enumerate(chain) if name == watch[:_NAME]]
    return [*chain[places[-1] if places else 0 :], watch]
