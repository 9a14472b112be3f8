"""Message: a task as a program sends it through `bridge.send_task`, with all that Celery's protocol says about it.

Celery builds the message in the program that sends it (`.apply_async()` in a transaction), and the event has its parts.
The bridge reads each part, checks it, and builds the message from what it has read, so nothing that it does not know
reaches a worker. The sender uses this module too: what the bridge would refuse is an error in the sender.
"""

from datetime import UTC, datetime
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from bridge.canvas import CanvasError, check_headers, check_id, check_place, check_task_id, named, named_by_call
from bridge.nesting import TOO_DEEP, depth_exceeds

_Text = Annotated[str, Meta(max_length=10_000)]
_Count = Annotated[int, Meta(ge=0, le=2**31 - 1)]
_Limit = Annotated[float, Meta(gt=0, le=3_155_760_000)]


class Protocol(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """What a message says beside its task and its arguments. The names are those of Celery's protocol 2."""

    id: str
    root_id: str | None = None
    parent_id: str | None = None
    group: str | None = None
    group_index: _Count | None = None
    eta: datetime | None = None
    expires: datetime | None = None
    retries: _Count = 0
    timelimit: tuple[_Limit | None, _Limit | None] = (None, None)
    """The hard and the soft one, in seconds."""
    shadow: _Text | None = None
    argsrepr: _Text = "..."
    kwargsrepr: _Text = "..."
    origin: _Text | None = None
    ignore_result: bool = False
    replaced_task_nesting: _Count = 0
    queue: Annotated[str, Meta(min_length=1)] | None = None
    """The queue that takes the message and is declared first. None: the exchange finds the queues."""
    exchange: str = ""
    routing_key: _Text = ""
    priority: Annotated[int, Meta(ge=0, le=255)] | None = None
    delivery_mode: Annotated[int, Meta(ge=1, le=2)] = 2
    compression: _Text | None = None
    embed: str | None = None
    """JSON: the signatures of callbacks, errbacks, chain and chord. None: there are none."""
    headers: str | None = None
    """JSON: the sender's own headers."""


class Message(msgspec.Struct, frozen=True, kw_only=True):
    """A message that was read and checked."""

    task: str
    protocol: Protocol
    args: list[Any]
    kwargs: dict[str, Any]
    embed: dict[str, Any]
    headers: dict[str, Any]
    tasks: frozenset[str]
    """Every task that it names, which must be allowed."""

    def fields(self) -> dict[str, Any]:
        """Returns the headers of Celery's protocol."""
        said = self.protocol
        return {
            "lang": "py",
            "task": self.task,
            "id": said.id,
            "shadow": said.shadow,
            "eta": None if said.eta is None else said.eta.isoformat(),
            "expires": None if said.expires is None else said.expires.isoformat(),
            "group": said.group,
            "group_index": said.group_index,
            "retries": said.retries,
            "timelimit": list(said.timelimit),
            "root_id": said.root_id or said.id,
            "parent_id": said.parent_id,
            "argsrepr": said.argsrepr,
            "kwargsrepr": said.kwargsrepr,
            "origin": said.origin,
            "ignore_result": said.ignore_result,
            "replaced_task_nesting": said.replaced_task_nesting,
            "stamped_headers": None,
            "stamps": {},
        }

    def body(self) -> bytes:
        """Returns the body, made from what was read: what was checked is what is sent."""
        nothing = {"callbacks": None, "errbacks": None, "chain": None, "chord": None}
        return _encode((self.args, self.kwargs, nothing | self.embed))


_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder().decode


def is_message(data: dict[str, Any]) -> bool:
    """Whether this data of an event was written by `bridge.send_task`, and not by `bridge.send`."""
    return "message" in data


def read(data: dict[str, Any]) -> Message:
    """Returns the message that is in an event's data; raises CanvasError with the reason why it can't be sent."""
    try:
        protocol = msgspec.convert(data.get("message"), Protocol)
        args, kwargs = _value(data["args"]), _value(data["kwargs"])
        embed = {} if protocol.embed is None else _decode(protocol.embed)
        headers = {} if protocol.headers is None else _decode(protocol.headers)
    except (msgspec.MsgspecError, KeyError, TypeError, RecursionError, UnicodeError) as error:
        raise CanvasError(f"its message can't be read: {error}") from error
    if any(depth_exceeds(value) for value in (args, kwargs, embed, headers)):
        raise CanvasError(TOO_DEEP)
    _check(protocol)
    check_headers(headers)
    task = data.get("task")
    tasks = frozenset([*named_by_call(task, args, kwargs), *named(embed)])
    return Message(
        task=str(task), protocol=protocol, args=args, kwargs=kwargs, embed=embed, headers=headers, tasks=tasks
    )


def _value(given: Any) -> Any:
    """Returns the value of a JSON text. A person who has corrected a dead letter may have written the value itself."""
    return _decode(given) if isinstance(given, str) else given


def _check(protocol: Protocol) -> None:
    check_task_id(protocol.id)
    for value in (protocol.root_id, protocol.parent_id, protocol.group):
        if value is not None:
            check_id(value)
    check_place(protocol.exchange)
    if protocol.queue is not None:
        check_place(protocol.queue)
    for time in (protocol.eta, protocol.expires):
        if time is not None and time.tzinfo is None:
            raise CanvasError(f"the time {time.isoformat()} has no time zone")


def seconds_until(time: datetime) -> float:
    """Returns the seconds from now until then, or 0 if then has passed."""
    return max(0.0, (time - datetime.now(UTC)).total_seconds())
