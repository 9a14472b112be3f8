"""Letter: turns what Celery has built into the parameters of `bridge.send_task`, or says why it can't be sent."""

import json
from datetime import UTC, datetime
from typing import Any

import kombu.utils.json
from celery.utils.time import maybe_make_aware
from kombu.compression import get_encoder
from kombu.entity import maybe_delivery_mode

from bridge.call_options import reserved_header
from bridge.canvas import CanvasError
from bridge.message import Protocol, read
from bridge.worker import PASSED
from django_app.errors import SendError
from django_app.sending.recording import Recording

# What Celery passes to Producer.publish: it is in the message already, or means nothing before the bridge publishes.
_IGNORED = frozenset({
    "body", "exchange", "routing_key", "declare", "headers", "serializer", "compression", "retry", "retry_policy",
    "timeout", "confirm_timeout", "delivery_mode", "priority", "correlation_id", "reply_to", "expiration", "mandatory",
    "immediate", "exchange_type", "argsrepr", "kwargsrepr", "origin", "now", "timezone",
})  # fmt: skip
# The headers of Celery's protocol that go into the message as they are.
_KEPT = (
    "id", "root_id", "parent_id", "group", "group_index", "retries", "shadow", "argsrepr", "kwargsrepr", "origin",
    "ignore_result", "replaced_task_nesting",
)  # fmt: skip
# The event has the context of its caller, so the worker's integration need not pass it on.
_PROTOCOL = {*_KEPT, "lang", "task", "eta", "expires", "timelimit", "stamped_headers", "stamps", PASSED}
_LONGEST = 10_000


def check_options(name: str, options: dict[str, Any]) -> None:
    """Raises SendError if a call has an option that means nothing for an event, or that would replace Celery's."""
    if options.get("connection") is not None:
        raise SendError(name, "the option 'connection' can't be used in a transaction")
    if options.get("serializer") not in (None, "json"):
        raise SendError(name, f"the serializer {options['serializer']!r} can't be used in a transaction, only json")
    headers = options.get("headers") or {}
    if not isinstance(headers, dict) or not all(isinstance(each, str) for each in headers):
        raise SendError(name, "its headers are not a dict with texts as keys")
    reserved = reserved_header(without_repeated(headers))
    if reserved is not None:
        raise SendError(name, f"the header {reserved!r} is Celery's own")


def letter(name: str, recording: Recording, app: Any) -> dict[str, Any]:
    """Returns the parameters of `bridge.send_task`; raises SendError."""
    options = recording.options
    if not isinstance(recording.body, tuple):
        raise SendError(name, "the app has task_protocol = 1", "Set it to 2, Celery's default.")
    args, kwargs, embed = recording.body
    if options["headers"]["task"] != name:
        raise SendError(
            name, f"a receiver of before_task_publish has made another task of it: {options['headers']['task']}"
        )
    unknown = sorted(options.keys() - _IGNORED)
    if unknown:
        raise SendError(name, f"the option {unknown[0]!r} can't be sent in a transaction")
    if options["headers"].get("stamped_headers"):
        raise SendError(name, "a stamped task can't be sent in a transaction", "Use headers, or send it outside.")
    _check_serializer(name, options["serializer"], (args, kwargs), app)
    message = _protocol(name, recording, app)
    if own := _own_headers(options["headers"]):
        message["headers"] = text(name, "headers", own)
    if any(value is not None for value in embed.values()):
        message["embed"] = text(name, "callbacks", embed)
    data = {"task": name, "args": text(name, "arguments", list(args)), "kwargs": text(name, "arguments", kwargs)}
    try:
        found = read({**data, "message": message})
    except CanvasError as error:
        raise SendError(name, str(error)) from error
    return {**data, "message": json.dumps(message), "tasks": sorted(found.tasks)}


def _protocol(name: str, recording: Recording, app: Any) -> dict[str, Any]:
    """Returns what the message says beside its arguments, without what is the default anyway."""
    options, headers = recording.options, recording.options["headers"]
    exchange, routing_key = _name(options["exchange"]), options["routing_key"] or ""
    declared = options["declare"] or ()
    queue = declared[0] if declared else None
    if exchange.startswith("celery_delayed_"):
        # Celery has computed from the ETA which exchange delays the message. The bridge does that when it publishes.
        queue = recording.queue
        exchange, routing_key = queue.exchange.name, queue.routing_key
    message = {
        **{name: _clean(headers.get(name)) for name in _KEPT},
        "eta": _time(name, headers["eta"], app),
        "expires": _time(name, headers["expires"], app),
        "timelimit": list(headers["timelimit"]),
        "queue": None if queue is None else queue.name,
        "exchange": exchange,
        "routing_key": routing_key,
        "priority": options.get("priority"),
        "delivery_mode": maybe_delivery_mode(options["delivery_mode"]),
        "compression": _compression(name, options["compression"]),
    }
    if message["root_id"] == message["id"]:
        del message["root_id"]
    usual = {field: getattr(_USUAL, field) for field in Protocol.__struct_fields__} | {"timelimit": [None, None]}
    return {name: value for name, value in message.items() if name == "id" or value not in (None, usual[name])}


_USUAL = Protocol(id="")


def _own_headers(headers: dict[str, Any]) -> dict[str, Any]:
    """Returns the headers that are not of Celery's protocol."""
    return without_repeated({name: value for name, value in headers.items() if name not in _PROTOCOL})


def without_repeated(headers: dict[str, Any]) -> dict[str, Any]:
    """Returns the headers once. Some tools (Sentry) repeat theirs under the name "headers", because Celery 4 lost them
    in a retry."""
    repeated = headers.get("headers")
    if not isinstance(repeated, dict):
        return headers
    return {**repeated, **{name: value for name, value in headers.items() if name != "headers"}}


def _check_serializer(name: str, serializer: str, values: Any, app: Any) -> None:
    """The message is JSON, whatever the app's serializer is: see docs/decisions/0017."""
    if not {"json", "application/json"} & set(app.conf.accept_content):
        raise SendError(name, "the message would be JSON, which accept_content leaves out", "Add 'json' to it.")
    if serializer in ("json", None):
        return
    plain = [list(values[0]), values[1]]
    if kombu.utils.json.loads(text(name, "arguments", plain)) != plain:
        raise SendError(
            name,
            f"its serializer is {serializer!r}, but the message would be JSON, which changes these arguments",
            "Pass values that JSON keeps: no tuples, no keys that are not texts.",
        )


def text(name: str, what: str, value: Any) -> str:
    """Returns the JSON that Celery's serializer makes."""
    try:
        return str(kombu.utils.json.dumps(value, allow_nan=False))
    except (TypeError, ValueError, RecursionError) as error:
        # TypeError quotes the type, and ValueError says that a number is not finite or a value contains itself.
        raise SendError(
            name, f"JSON can't hold its {what}: {error}", "Pass ids and plain values, and load objects in the task."
        ) from error


def _time(name: str, value: Any, app: Any) -> str | None:
    if value is None:
        return None
    try:
        return str(maybe_make_aware(datetime.fromisoformat(value), app.timezone).astimezone(UTC).isoformat())
    except OverflowError as error:
        raise SendError(name, f"the time {value} is not a date in UTC") from error


def _compression(name: str, compression: str | None) -> str | None:
    if compression is not None:
        try:
            get_encoder(compression)
        except KeyError as error:
            raise SendError(name, f"the compression {compression!r} is not known here") from error
    return compression


def _name(exchange: Any) -> str:
    return str(getattr(exchange, "name", exchange) or "")


def _clean(value: Any) -> Any:
    """Returns the value; a text in a form that PostgreSQL accepts, without NUL and half characters."""
    if not isinstance(value, str):
        return value
    return value.replace("\0", "\\0").encode("utf-8", "backslashreplace").decode()[:_LONGEST]
