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


class Options(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """All options of a watch, as the database stores them. tests/test_options.py holds every other list of options
    against this one."""

    call: Literal["key", "event"] = "key"
    """Arguments of the task. key: the key's values, as positional arguments. event: one dict."""
    queue: Annotated[str, Meta(min_length=1)] | UnsetType = UNSET
    priority: Annotated[int, Meta(ge=0, le=255)] | UnsetType = UNSET
    countdown: Annotated[_Seconds, Meta(ge=0)] | UnsetType = UNSET
    """Seconds that a worker waits before it starts the task."""
    expires: Annotated[_Seconds, Meta(gt=0)] | UnsetType = UNSET
    """Seconds after publishing when the task expires."""
    headers: dict[str, Any] | UnsetType = UNSET
    coalesce: bool | UnsetType = UNSET
    """Whether several events of one key that are read together become one task."""
    own_writes: Literal["follow", "ignore"] | UnsetType = UNSET
    """Whether a change that a task of this watch wrote into the row that started it starts the task again. It needs the
    worker's integration (bridge.worker)."""
    source: str | UnsetType = UNSET
    """Name of what declares the watch, such as "django". Pruning removes only watches of one source."""
    always: bool | UnsetType = UNSET
    """Whether changes are also captured where ordinary triggers do not fire: session_replication_role = replica,
    logical replication."""
    may_skip: bool | UnsetType = UNSET
    """Whether a transaction may switch capture off with `set local bridge.capture = off`."""
    named_only: bool | UnsetType = UNSET
    """Whether only updates whose SET names one of `columns` count. Other updates cost nothing, and changes that BEFORE
    triggers make are not noticed."""
    unchanged: bool | UnsetType = UNSET
    """Whether updates that change no value count too. By default only changes count."""
    notify: bool | UnsetType = UNSET
    """Whether writers may NOTIFY. PREPARE TRANSACTION refuses NOTIFY; with False, events wait for the poll floor."""
    shadow: bool | UnsetType = UNSET
    """Whether events are only recorded: no task starts, and the old dispatch in the code is compared with them."""
    on_error: Literal["fail", "warn"] | UnsetType = UNSET
    """What happens when a change can't be recorded. fail (the default): the statement fails. warn: it goes on with a
    warning."""


def complaint(options: object) -> str | None:
    """Returns what is wrong with the options, or None."""
    try:
        checked = msgspec.convert(options, Options)
    except (msgspec.ValidationError, RecursionError) as error:
        return f"its options can't be used: {error}"
    headers = checked.headers or {}
    if depth_exceeds(headers):
        return f"its options can't be used: {TOO_DEEP}"
    if checked.queue and checked.queue.startswith("amq."):
        # RabbitMQ reserves these names, and with kombu's own transports no worker can read such a queue.
        return f'its options can\'t be used: the queue\'s name "{checked.queue}" begins with "amq.", which is reserved'
    name = reserved_header(headers)
    return None if name is None else f"its options can't be used: the header \"{name}\" is Celery's own"


def reserved_header(headers: dict[str, Any]) -> str | None:
    """Returns the first of these names that a custom header may not have, or None."""
    return next((name for name in headers if name in RESERVED_HEADERS or name[:1] in ("_", "")), None)
