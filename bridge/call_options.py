"""Call options: how a watch or `bridge.send` wants a task to be called.

The database checks the options too (bridge._check_options). They are checked again here because an older triggers.sql,
or a person, may have written rows without this check.
"""

from typing import Annotated, Any, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

from bridge.nesting import TOO_DEEP, depth_exceeds

# Headers of Celery's own protocol, headers that a worker reads, and names of attributes of the task's request. Celery
# lets a custom header replace its own one, so such a header could start another task. bridge._check_options has this
# list too.
RESERVED_HEADERS = frozenset({
    "BCC", "CC", "args", "argsrepr", "as_execution_options", "bridge", "callbacks", "called_directly", "chain",
    "children", "chord", "clear", "clock", "compression", "correlation_id", "delivery_info", "errbacks", "eta",
    "expires", "get", "group", "group_index", "groups", "headers", "hostname", "id", "ignore_result", "is_eager",
    "kwargs", "kwargsrepr", "lang", "link", "link_error", "logfile", "loglevel", "meth", "origin", "parent_id",
    "properties", "redelivered", "replaced_task_nesting", "reply_to", "retries", "root_id", "shadow",
    "soft_time_limit", "stamped_headers", "stamps", "task", "task_id", "task_name", "taskset", "time_limit",
    "timelimit", "update", "utc",
})  # fmt: skip

# A hundred years in seconds. A longer time would end at a date that clocks can't show.
_Seconds = Annotated[float, Meta(le=3_155_760_000)]


class CallOptions(msgspec.Struct, forbid_unknown_fields=True):
    """All options of a watch. A call does not use those of capture, but they are valid."""

    call: Literal["key", "event"] = "key"
    queue: Annotated[str, Meta(min_length=1)] | UnsetType = UNSET
    priority: Annotated[int, Meta(ge=0, le=255)] | UnsetType = UNSET
    countdown: Annotated[_Seconds, Meta(ge=0)] | UnsetType = UNSET
    expires: Annotated[_Seconds, Meta(gt=0)] | UnsetType = UNSET
    headers: dict[str, Any] = {}
    coalesce: bool = False
    source: str | UnsetType = UNSET
    always: bool = False
    may_skip: bool = False
    named_only: bool = False
    notify: bool = True
    on_error: Literal["fail", "warn"] = "fail"


def complaint(options: object) -> str | None:
    """Returns what is wrong with the options, or None."""
    try:
        checked = msgspec.convert(options, CallOptions)
    except (msgspec.ValidationError, RecursionError) as error:
        return f"its options can't be used: {error}"
    if depth_exceeds(checked.headers):
        return f"its options can't be used: {TOO_DEEP}"
    if checked.queue and checked.queue.startswith("amq."):
        # RabbitMQ reserves these names, and with kombu's own transports no worker can read such a queue.
        return f'its options can\'t be used: the queue\'s name "{checked.queue}" begins with "amq.", which is reserved'
    name = reserved_header(checked.headers)
    return None if name is None else f"its options can't be used: the header \"{name}\" is Celery's own"


def reserved_header(headers: dict[str, Any]) -> str | None:
    """Returns the first of these names that a custom header may not have, or None."""
    return next((name for name in headers if name in RESERVED_HEADERS or name[:1] in ("_", "")), None)
