"""Call: one Celery task to start, made from an event and its watch."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgspec

from bridge import chain
from bridge.call_options import complaint
from bridge.canvas import CanvasError
from bridge.event import Event
from bridge.message import Message, is_message, read
from bridge.nesting import is_deep
from bridge.reason import reason
from bridge.task_id import task_id

_MAY_NOT = 'task "{}" may not be sent; to allow it, run select bridge.allow(...)'


class Target(msgspec.Struct, frozen=True):
    """The part of a watch that the relay needs: the task and how to call it."""

    task: str
    options: dict[str, Any]


class Targets(msgspec.Struct, frozen=True):
    """All watches by name, and the tasks that `bridge.send` may start."""

    watches: Mapping[str, Target] = {}
    sendable: frozenset[str] = frozenset()
    unusable: Mapping[str, str] = {}
    """Names of watches that can't be used, and the reasons."""

    def target_for(self, event: Event) -> Target | str:
        """Returns the target of an event, or the reason why it has none."""
        if event.op == "send":
            return self._sent(event.data or {})
        target = self.watches.get(event.watch)
        return target or self.unusable.get(event.watch, f'watch "{event.watch}" does not exist')

    def _sent(self, sent: dict[str, Any]) -> Target | str:
        task, options = sent.get("task"), sent.get("options", {})
        if not isinstance(task, str) or task not in self.sendable:
            return _MAY_NOT.format(task)
        if not isinstance(sent.get("args", []), list) or not isinstance(sent.get("kwargs", {}), dict):
            return f'task "{task}": its args are not a JSON array, or its kwargs are not a JSON object'
        return complaint(options) or Target(task, options)

    @property
    def ignoring(self) -> frozenset[str]:
        """The watches whose tasks start nothing by what they write into their own row."""
        return frozenset(name for name, target in self.watches.items() if target.options.get("own_writes") == "ignore")

    @property
    def coalescing(self) -> frozenset[str]:
        """The watches with the option `coalesce`: several of their events with one key become one task."""
        return frozenset(name for name, target in self.watches.items() if target.options.get("coalesce"))

    @property
    def shadows(self) -> frozenset[str]:
        """The watches with the option `shadow`: their events are recorded and start no task."""
        return frozenset(name for name, target in self.watches.items() if target.options.get("shadow"))


def targets_of(watches: Iterable[tuple[str, str, str]], sendable: Iterable[str]) -> Targets:
    """Makes the targets from the rows of the database: each watch is its name, its task, and its options as JSON.

    A watch that can't be used does not stop the others.
    """
    usable: dict[str, Target] = {}
    unusable: dict[str, str] = {}
    for name, task, text in watches:
        try:
            options = msgspec.json.decode(text)
            wrong = complaint(options)
        except (msgspec.DecodeError, RecursionError) as error:
            wrong = f"its options can't be read: {reason(error)}"
        if wrong is None:
            usable[name] = Target(task, options)
        else:
            unusable[name] = f'watch "{name}": {wrong}'
    return Targets(usable, frozenset(sendable), unusable)


class Call(msgspec.Struct, frozen=True):
    """A task's name, arguments and options, with the task id. Each delivery of the event has this same task id."""

    event: Event
    target: Target
    task_id: str
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    headers: dict[str, Any]
    message: Message | None = None
    """What the sender's Celery has said about the task, if `bridge.send_task` sent it."""


class Refusal(msgspec.Struct, frozen=True):
    """An event that can't be published as it is, even with a healthy broker. It becomes a dead letter."""

    event: Event
    reason: str


def call_for(event: Event, targets: Targets) -> Call | Refusal:
    """Returns the call that an event asks for.

    The key's values are the positional arguments, as in `task.delay(obj.pk)`. With the option `call = "event"` the only
    argument is a dict. In both cases the header `bridge` describes the change.
    """
    if event.flaw is not None:
        return Refusal(event, event.flaw)
    if event.op == "send" and is_message(event.data or {}):
        return _sent_with_message(event, targets)
    target = targets.target_for(event)
    if isinstance(target, str):
        return Refusal(event, target)
    context = context_of(event)
    if event.op != "send" and chain.is_too_deep(context):
        return Refusal(event, chain.too_deep(context, event.watch))
    args, kwargs = _arguments(event, target)
    own = target.options.get("headers")
    header = _header(event, context)
    return Call(
        event=event,
        target=target,
        task_id=task_id(event),
        args=args,
        kwargs=kwargs,
        headers={**chain.trace_of(context), **(own or {}), "bridge": header} if own or context else {"bridge": header},
    )


def _sent_with_message(event: Event, targets: Targets) -> Call | Refusal:
    data = event.data or {}
    try:
        message = read(data)
    except CanvasError as error:
        return Refusal(event, f'task "{data.get("task")}" can\'t be sent: {error}')
    if refused := sorted(message.tasks - targets.sendable):
        return Refusal(event, _MAY_NOT.format(refused[0]))
    context = context_of(event)
    return Call(
        event=event,
        target=Target(message.task, {}),
        task_id=message.protocol.id,
        args=tuple(message.args),
        kwargs=message.kwargs,
        # The trace that the caller's own tools have put there is the more exact one.
        headers={**chain.trace_of(context), **message.headers, "bridge": _header(event, context)},
        message=message,
    )


def _header(event: Event, context: Any) -> dict[str, Any]:
    """Returns the header `bridge`, which describes the change."""
    header = {
        "id": event.id,
        "watch": event.watch,
        "operation": event.op,
        "at": event.at.isoformat(),
        "context": context,
    }
    if event.merged:
        header["coalesced"] = len(event.merged) + 1
    return header


def as_argument(event: Event) -> dict[str, Any]:
    """Returns the dict that a task with `call = "event"` gets."""
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
        "context": context_of(event),
    }


def context_of(event: Event) -> Any:
    """Returns the transaction's `bridge.context`: the parsed value if it is JSON, else the text."""
    if event.context is None:
        return None
    try:
        value = msgspec.json.decode(event.context)
    except (msgspec.DecodeError, RecursionError):
        return event.context
    return event.context if is_deep(event.context, value) else value


def without_own_writes(events: Sequence[Event], ignoring: frozenset[str]) -> Sequence[Event]:
    """Returns the events that may start tasks: without those that a task of the same watch wrote into its own row."""
    return [
        event
        for event in events
        if event.watch not in ignoring or event.context is None or not chain.is_own_write(event, context_of(event))
    ]


def _arguments(event: Event, target: Target) -> tuple[tuple[Any, ...], dict[str, Any]]:
    if event.op == "send":
        sent = event.data or {}
        return tuple(sent.get("args", ())), sent.get("kwargs", {})
    if target.options.get("call") == "event":
        return (as_argument(event),), {}
    return tuple(event.key or ()), {}
