"""What a test sees of the log: the events, and the tasks that they start."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal, cast

from bridge.call import Call, Refusal, call_for, context_of, without_own_writes
from bridge.event import Event
from bridge.flow.coalesce import coalesce
from django_app.testing.beginning import of_this_test
from django_app.testing.canvas import run, signature_of
from django_app.testing.errors import TestingError
from django_app.testing.log import Log

_SHADOW = "its watch has the option shadow, so it is only recorded"

Op = Literal["insert", "update", "delete", "truncate", "send"]


class Values(dict[str, Any]):
    """The values of a row that an event carries: those of the columns that the watch names in `data`."""

    def __missing__(self, column: str) -> Any:
        has = ", ".join(self) or "no value"
        raise KeyError(f"this event has {has}, and not '{column}': name the column in the watch's `data`")


@dataclass(frozen=True)
class CapturedEvent:
    """One change that a watch recorded, or one task that `bridge.send` sent."""

    id: int
    watch: str
    """The name of the watch. Empty for `bridge.send`."""
    op: Op
    key: list[Any]
    """The values of the key as JSON has them. Empty for a truncate and for `bridge.send`."""
    old_key: list[Any]
    """The key before an update that changed it. Otherwise empty."""
    old: Values
    """The values before the change, of the columns in the watch's `data`. Empty for an insert."""
    new: Values
    """The values after the change, of the columns in the watch's `data`. Empty for a delete."""
    changed: list[str]
    """The columns that an update changed, if the watch has `data` or `call="event"`."""
    context: Any
    """The transaction's `bridge.context`."""
    at: datetime
    task: str
    """The full name of the task that this event starts."""
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    refusal: str | None
    """Why this event starts nothing and becomes a dead letter. Usually None."""

    def __str__(self) -> str:
        what = f"{self.watch} {self.op} {self.key}" if self.watch else "sent with bridge.send"
        fields = f", changed: {', '.join(self.changed)}" if self.changed else ""
        said = f", refused: {self.refusal}" if self.refusal else ""
        return f"{shown(self.task or '?', self.args, self.kwargs)}  ({what}{fields}{said})"


@dataclass(frozen=True)
class CapturedTask:
    """One task that the bridge would start. Calling it runs the task, and raises the task's own exception."""

    name: str
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    headers: dict[str, Any]
    """What the task finds in `self.request.headers`; `bridge` describes the change."""
    id: str
    event: CapturedEvent
    """The event that starts it; the newest one, if the watch has the option `coalesce`."""
    ids: frozenset[int] = field(repr=False)
    """The ids of all its events."""
    _run: Callable[[], Any] = field(repr=False, compare=False)

    def __call__(self) -> Any:
        """Runs the task as a worker would, and returns its result."""
        __tracebackhide__ = True
        return self._run()

    def __str__(self) -> str:
        return shown(self.name, self.args, self.kwargs)


def captured_event(event: Event, log: Log) -> CapturedEvent:
    """Returns the event as a test sees it."""
    data = {} if event.op == "send" else event.data or {}
    call = call_for(event, log.targets)
    return CapturedEvent(
        id=event.id,
        watch=event.watch,
        op=cast("Op", event.op),
        key=event.key or [],
        old_key=data.get("old_key") or [],
        old=Values(data.get("old") or {}),
        new=Values(data.get("new") or {}),
        changed=data.get("changed") or [],
        context=context_of(event),
        at=event.at,
        task=call.target.task if isinstance(call, Call) else _intended(event, log),
        args=call.args if isinstance(call, Call) else (),
        kwargs=call.kwargs if isinstance(call, Call) else {},
        refusal=call.reason if isinstance(call, Refusal) else _SHADOW if event.watch in log.targets.shadows else None,
    )


def captured_tasks_of(events: Iterable[Event], log: Log) -> list[CapturedTask]:
    """Returns the tasks that these events start, as if the bridge read all of them at once. Those of shadow watches
    start none."""
    __tracebackhide__ = True
    shadows = log.targets.shadows
    wanted = [event for event in without_own_writes(list(events), log.targets.ignoring) if event.watch not in shadows]
    return [_task(event, log) for event in coalesce(wanted, log.targets)]


def shown(task: str, args: Iterable[Any], kwargs: dict[str, Any]) -> str:
    """Returns a call as Python writes it."""
    return f"{task}({', '.join([*map(repr, args), *(f'{name}={value!r}' for name, value in kwargs.items())])})"


def _task(event: Event, log: Log) -> CapturedTask:
    __tracebackhide__ = True
    call = call_for(event, log.targets)
    if isinstance(call, Refusal):
        raise TestingError(
            f"The event '{event.watch} {event.op} {event.key}' starts no task and would become a dead letter: "
            f"{call.reason}."
        )
    using = log.connection.alias
    ids = frozenset(origin.id for origin in event.origins)
    chords = of_this_test(using).chords
    if call.message is not None:
        chords.expect(signature_of(call))

    def start() -> Any:
        __tracebackhide__ = True
        of_this_test(using).done.update(ids)
        return run(call, chords)

    return CapturedTask(
        name=call.target.task,
        args=call.args,
        kwargs=call.kwargs,
        headers=call.headers,
        id=call.task_id,
        event=captured_event(event, log),
        ids=ids,
        _run=start,
    )


def _intended(event: Event, log: Log) -> str:
    """Returns the task of an event that is refused, as far as it is known."""
    if event.op == "send":
        return str((event.data or {}).get("task", ""))
    return next((watch.task for watch in log.watches if watch.name == event.watch), "")
