"""Template: the message that Celery sends for a target, recorded once and rendered for each call.

Celery builds a message of some thirty parts for each task. The messages of one target differ in only a few of them. So
we let Celery build one message, for a call with values that occur nowhere else, and later put the values of each call
in their places. Nothing is recorded, and Celery makes each message, if anything else could differ from call to call (a
router that looks at the arguments, a signal with receivers, the app's own `send_task`, a countdown), or if a newer
Celery puts one of the values in a place that this module does not know.
"""

from datetime import UTC, datetime
from typing import Any, NamedTuple

import kombu
import msgspec
from celery import Celery, signals
from celery.app.routes import MapRoute
from celery.utils.saferepr import saferepr
from kombu.compression import compress
from kombu.entity import maybe_delivery_mode
from kombu.serialization import dumps

from bridge.call import Call, Target
from bridge.event import Event
from bridge.publisher import task

# These values occur nowhere else.
TASK_ID = "b3c1d9f0-5a7e-4c6b-8f21-bridge000000"
_ARGUMENT = "bridge-argument-b3c1d9f0"
_HEADER = {"bridge": "bridge-header-b3c1d9f0"}

_EVENT = Event(0, "", "send", None, None, None, datetime.fromtimestamp(0, UTC))
_encode = msgspec.json.Encoder().encode
# The most targets that are remembered: more than an application has watches. Calls of `bridge.send` may bring any
# number of targets.
_MOST = 1000
_OURS = "bridge."
SHADOW_RECEIVER = f"{_OURS}shadow"
"""The dispatch_uid of the receiver of Django's shadow mode."""
_VARIABLE = ("id", "root_id", "argsrepr", "kwargsrepr", "bridge")
TRACE = ("traceparent", "tracestate")
"""Headers that a message has if its event has them."""


class Rendered(NamedTuple):
    """The parts of a message that differ from the other messages of its target."""

    task_id: str
    headers: dict[str, Any]
    """The headers that differ from call to call."""
    body: bytes


class Template:
    """The message of one target. The attributes are the same for all calls; `render` makes the parts that differ."""

    def __init__(self, app: Celery, body: Any, options: dict[str, Any]) -> None:
        headers = options["headers"]
        self.exchange: str = options["exchange"]
        self.routing_key: str = options["routing_key"]
        self.declare: list[Any] = list(options["declare"] or ())
        self.priority: int = options.get("priority") or 0
        self.delivery_mode: int | None = maybe_delivery_mode(options["delivery_mode"])
        self.headers = {name: value for name, value in headers.items() if name not in _VARIABLE}
        self._serializer: str = options["serializer"]
        self._compression: str | None = options["compression"]
        self._embed: dict[str, Any] = body[2]
        # Celery 5.5 does not have this setting, and its saferepr uses the value that is the default here.
        levels = app.conf.get("task_repr_maxlevels", 3)
        self._repr = app.amqp.argsrepr_maxsize, app.amqp.kwargsrepr_maxsize, levels
        self.content_type, self.content_encoding, _ = dumps(((), {}, self._embed), serializer=self._serializer)
        # kombu turns all other options into properties of the message.
        known = ("exchange", "routing_key", "declare", "priority", "delivery_mode", "headers", "serializer")
        gone = (*known, "compression", "retry", "retry_policy", "timeout", "confirm_timeout", "correlation_id")
        self.properties = {name: value for name, value in options.items() if name not in gone}
        if self._compression:
            _, self.headers["compression"] = compress(b"", self._compression)

    def render(self, call: Call) -> Rendered:
        """Returns the parts for this call; raises the serializer's error if it can't express them."""
        args, kwargs = call.args, call.kwargs
        args_size, kwargs_size, levels = self._repr
        number = args[0] if len(args) == 1 and type(args[0]) is int else None
        headers = {
            "id": call.task_id,
            "root_id": call.task_id,
            "argsrepr": saferepr(args, args_size, maxlevels=levels) if number is None else f"({number},)",
            "kwargsrepr": saferepr(kwargs, kwargs_size, maxlevels=levels) if kwargs else "{}",
            "bridge": call.headers["bridge"],
        }
        if "traceparent" in call.headers:
            headers |= {name: call.headers[name] for name in TRACE if name in call.headers.keys() - self.headers}
        body = self._serialized((args, kwargs, self._embed))
        return Rendered(call.task_id, headers, compress(body, self._compression)[0] if self._compression else body)

    def _serialized(self, body: Any) -> bytes:
        if self._serializer == "json":
            try:
                return _encode(body)
            except (TypeError, ValueError, OverflowError):
                pass  # kombu's serializer knows more types than this encoder
        _, _, payload = dumps(body, serializer=self._serializer)
        return payload if isinstance(payload, bytes) else payload.encode()


class Templates:
    """The templates of all targets of one app."""

    def __init__(self, app: Celery) -> None:
        self._app = app
        self._known: dict[bytes, Template | None] = {}

    def get(self, target: Target) -> Template | None:
        """Returns the template of this target, or None if Celery has to make each of its messages."""
        # Targets are compared by value, since each event of `bridge.send` brings a target object of its own.
        name = _encode(target)
        if name not in self._known:
            if len(self._known) >= _MOST:
                self._known.clear()
            try:
                self._known[name] = _record(self._app, target)
            except MemoryError:
                raise
            except Exception:  # Celery raises it again for each call, which is then refused with this reason
                self._known[name] = None
        return self._known[name]


def somebody_listens() -> bool:
    """Whether a signal about publishing has receivers, such as Sentry, OpenTelemetry or the user's own.

    Those of Django's shadow mode and of the worker's integration ignore what the bridge publishes, so they don't count.
    """
    listened = signals.before_task_publish, signals.after_task_publish, signals.task_sent
    names = (name[0] for signal in listened for name, _ in signal.receivers or ())
    return any(not (isinstance(name, str) and name.startswith(_OURS)) for name in names)


class _Recorder:
    """A producer that only records what it should publish."""

    def __init__(self, connection: kombu.Connection) -> None:
        self.connection = connection
        self.body: Any = None
        self.options: dict[str, Any] = {}

    def publish(self, body: Any, **options: Any) -> None:
        self.body, self.options = body, options


def _record(app: Celery, target: Target) -> Template | None:
    amqp: Any = app.amqp
    if not all(isinstance(route, MapRoute) for route in amqp.router.routes or ()):
        return None
    if type(app).send_task is not Celery.send_task:
        return None
    if app.conf.task_protocol != 2 or app.conf.task_send_sent_event:
        return None
    headers = {**target.options.get("headers", {}), **_HEADER}
    call = Call(_EVENT, target, TASK_ID, (_ARGUMENT,), {}, headers)
    recorder = _Recorder(app.connection_for_write())
    task.send(app, call, recorder, {})
    body, options = recorder.body, recorder.options
    expected = {
        "id": TASK_ID,
        "root_id": TASK_ID,
        "argsrepr": repr((_ARGUMENT,)),
        "kwargsrepr": "{}",
        **_HEADER,
    }
    recorded = options.get("headers", {})
    if {name: recorded.get(name) for name in _VARIABLE} != expected or body[:2] != ((_ARGUMENT,), {}):
        return None
    if recorded.get("eta") or recorded.get("expires") or options.get("correlation_id") != TASK_ID:
        return None
    template = Template(app, body, options)
    rest = repr((template.headers, template.properties, body[2]))
    return None if TASK_ID in rest or _ARGUMENT in rest or _HEADER["bridge"] in rest else template
