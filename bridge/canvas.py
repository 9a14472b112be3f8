"""Canvas: the signatures inside a message (callbacks, the rest of a chain, the body of a chord), checked.

A worker starts whatever a signature names, with the options that it has. So all of them are checked as the message
itself is: only known keys and options, no header that replaces one of Celery's protocol, and every task that is named
is reported, so that the caller can compare it with the tasks that are allowed.
"""

import re
from collections.abc import Iterator
from typing import Any
from uuid import UUID

from bridge.call_options import reserved_header

# The ids that events have (bridge/call.py). A sender that chose such an id could make `bridge.once` skip the task of an
# event that has not run yet.
_VERSION_OF_EVENTS = 5
# Ids stand in messages without quotes (bridge/publisher/sender/redis.py).
_ID = re.compile(r"[A-Za-z0-9_.:@/+=-]{1,155}")

_KEYS = frozenset({"task", "args", "kwargs", "options", "subtask_type", "immutable", "chord_size"})
_IDS = frozenset({"task_id", "root_id", "parent_id", "group_id", "reply_to"})
_SIGNATURES = frozenset({"link", "link_error", "chain", "chord"})
# The other options of apply_async that JSON can hold.
_OPTIONS = frozenset({
    "add_to_parent", "argsrepr", "compression", "countdown", "delivery_mode", "eta", "exchange", "exchange_type",
    "expires", "group_index", "headers", "ignore_result", "interval", "kwargsrepr", "max_retries", "origin", "priority",
    "queue", "replaced_task_nesting", "retries", "retry", "retry_policy", "route_name", "routing_key", "serializer",
    "shadow", "soft_time_limit", "time_limit",
})  # fmt: skip
# The kinds of signatures that stand for more than one task, and the built-in task that each of them must name.
_KINDS = {
    "chain": "celery.chain",
    "group": "celery.group",
    "chord": "celery.chord",
    "xmap": "celery.map",
    "xstarmap": "celery.starmap",
    "chunks": "celery.chunks",
}
_INLINE = {"celery.map": {"task", "it"}, "celery.starmap": {"task", "it"}, "celery.chunks": {"task", "it", "n"}}
_UNLOCK = frozenset({"interval", "max_retries", "result", "_chord_unlock_exchange_type"})


class CanvasError(ValueError):
    """A message or a signature has a part that can't be sent. The message is a part of a sentence."""


def named(embed: object) -> Iterator[str]:
    """Yields the tasks that the embedded signatures of a message name; raises CanvasError."""
    if not isinstance(embed, dict):
        raise CanvasError("its callbacks are not a JSON object")
    for name, value in embed.items():
        if name not in ("callbacks", "errbacks", "chain", "chord"):
            raise CanvasError(f"it has unknown callbacks: {name!r}")
        yield from _signatures(value)


def named_by_call(task: object, args: object, kwargs: object) -> Iterator[str]:
    """Yields the tasks that a call of this task starts: itself or, if it is one of Celery's, those in its arguments."""
    if not isinstance(task, str) or not isinstance(args, list) or not isinstance(kwargs, dict):
        raise CanvasError("it does not name a task with a list and a dict of arguments")
    if task == "celery.accumulate":
        return  # returns its arguments
    if task in _INLINE and not args and kwargs.keys() == _INLINE[task]:
        yield from _signature(kwargs["task"])
    elif task == "celery.chord_unlock" and len(args) == 2 and kwargs.keys() <= _UNLOCK:
        yield from _signature(args[1])
    else:
        yield task


def check_id(value: object) -> None:
    """Raises CanvasError if this can't be the id of a task or a group."""
    if not isinstance(value, str) or not _ID.fullmatch(value):
        raise CanvasError(f"the id {value!r} must have 1 to 155 letters, digits or characters of _.:@/+=-")


def check_task_id(value: object) -> None:
    """Raises CanvasError if a sender may not choose this id for a task."""
    check_id(value)
    try:
        version = UUID(str(value)).version
    except ValueError:
        return
    if version == _VERSION_OF_EVENTS:
        raise CanvasError(f"the id {value} is a UUID of version 5, which only events have")


def check_place(name: object) -> None:
    """Raises CanvasError if a message may not be sent to an exchange or a queue of this name."""
    if not isinstance(name, str):
        raise CanvasError(f"{name!r} is not the name of an exchange or a queue")
    if name.startswith("amq.") or name.endswith(".pidbox") or name == "celeryev":
        raise CanvasError(f"the name {name!r} of an exchange or a queue is reserved")


def check_headers(headers: object) -> None:
    """Raises CanvasError if a header replaces one of Celery's."""
    if not isinstance(headers, dict):
        raise CanvasError("its headers are not a JSON object")
    name = reserved_header(headers)
    if name is not None:
        raise CanvasError(f"the header {name!r} is Celery's own")


def _signatures(value: object) -> Iterator[str]:
    for one in value if isinstance(value, list) else [value]:
        if one is not None:
            yield from _signature(one)


def _signature(signature: object) -> Iterator[str]:
    if not isinstance(signature, dict) or not signature.keys() <= _KEYS:
        raise CanvasError("a signature in it is not a JSON object, or has unknown keys")
    yield from _options(signature.get("options", {}))
    kind, task = signature.get("subtask_type"), signature.get("task")
    args, kwargs = signature.get("args", []), signature.get("kwargs", {})
    if kind is not None and (not isinstance(kind, str) or _KINDS.get(kind) != task):
        raise CanvasError(f"a signature of the kind {kind!r} can't name the task {task!r}")
    if kind in ("chain", "group"):
        yield from _several(args, kwargs, {"tasks"}, "tasks")
    elif kind == "chord":
        yield from _several(args, kwargs, {"header", "body", "kwargs"}, "header", "body")
    else:
        yield from named_by_call(task, args, kwargs)


def _several(args: object, kwargs: object, known: set[str], *names: str) -> Iterator[str]:
    """Yields the tasks of a signature that stands for several. Its args are data, and are given to its tasks."""
    if not isinstance(args, list) or not isinstance(kwargs, dict) or not kwargs.keys() <= known:
        raise CanvasError("a chain, group or chord in it has unknown arguments")
    for name in names:
        yield from _signatures(kwargs.get(name))


def _options(options: Any) -> Iterator[str]:
    if not isinstance(options, dict):
        raise CanvasError("the options of a signature are not a JSON object")
    for name, value in options.items():
        if name in _SIGNATURES:
            yield from _signatures(value)
        elif name not in _IDS and name not in _OPTIONS:
            raise CanvasError(f"a signature in it has the option {name!r}, which can't be sent")
        elif value is not None:
            _check_option(name, value)


def _check_option(name: str, value: object) -> None:
    if name == "task_id":
        check_task_id(value)
    elif name in _IDS:
        check_id(value)
    elif name in ("exchange", "queue"):
        check_place(value)
    elif name == "headers":
        check_headers(value)
    elif name == "serializer" and value != "json":
        raise CanvasError(f"a signature in it has the serializer {value!r}, but only json can be sent")
