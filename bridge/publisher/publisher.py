"""Publisher: connects, publishes a batch, and says what the broker did not confirm."""

import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from functools import partial
from itertools import groupby, islice
from operator import attrgetter, itemgetter
from pathlib import Path
from typing import Any
from weakref import WeakSet

import amqp
import kombu
from celery import Celery
from celery.app.utils import find_app
from kombu.exceptions import KombuError, OperationalError

from bridge.call import Call, Refusal, Targets, call_for
from bridge.errors import BrokerError, ConfigError
from bridge.event import Event
from bridge.publisher.carrier import Carrier, Form, PlainCarrier
from bridge.publisher.confirms import Confirms
from bridge.publisher.delayed import DelayedRouter
from bridge.publisher.message import Message, Messages, somebody_listens
from bridge.publisher.rabbitmq import RabbitCarrier
from bridge.publisher.redis import RedisCarrier, is_redis
from bridge.publisher.task import UNSENDABLE, send

# A peer that swallows packets must not hold the bridge for ever; seconds. What the user's app says comes first.
_TRANSPORT_OPTIONS = {
    # Confirms are reads: all of a batch have to come within the read timeout.
    "amqp": {"write_timeout": 15, "read_timeout": 30},
    "redis": {"socket_timeout": 15, "socket_connect_timeout": 5},
}


class Publisher:
    """Publishes what events ask for, and waits until the broker has it all.

    With the user's Celery app its task options, routes, queues, serializer and signals apply; without one a bare app
    with Celery's defaults does.
    """

    def __init__(self, broker_url: str | None = None, app_path: str | None = None) -> None:
        self._app = _load(app_path) if app_path else Celery("bridge", set_as_current=False)
        if broker_url:
            self._app.conf.update(broker_url=broker_url, broker_write_url=broker_url)
        elif not app_path:
            raise ConfigError("no broker: give --broker-url (BRIDGE_BROKER_URL) or --app (BRIDGE_CELERY_APP)")
        self._connection: kombu.Connection | None = None
        self._producer: Any = None
        self._confirms: Confirms | None = None
        self._confirm_deadline = 0.0
        self._extra: dict[str, Any] = {}
        # Messages whose queue this connection has declared; declaring again would cost as much as publishing.
        self._declared: WeakSet[Message] = WeakSet()
        try:
            self.address: str = self._app.connection_for_write().as_uri()
        except ImportError as error:
            raise ConfigError(
                f"the broker's address can't be used: {error}; its client is missing, "
                "for Redis: pip install 'commit-bridge[redis]'"
            ) from error
        except (KeyError, ValueError) as error:
            raise ConfigError(f"the broker's address can't be used: {error}") from error

    def publish(self, events: Sequence[Event], targets: Targets) -> list[Refusal]:
        """Publishes the calls that the events ask for, in order, and returns what can't be published at all.

        BrokerError: it is not certain which of the others the broker has; publish them again, their ids are the same.
        """
        calls: list[Call] = []
        refusals: list[Refusal] = []
        try:
            with self._translated():
                self._connect()
                if self._confirms:
                    self._confirms.begin()
                self._send_all(_asked(events, targets, calls, refusals), refusals)
                if self._confirms:
                    self._confirms.wait(self._confirm_deadline)
        except BrokerError as error:
            blocked = self._confirms.look() if self._confirms else None
            confirmed = self._confirms.settled if self._confirms else frozenset()
            # Also where the connection seems alive: acks of this try must not count for the next one.
            self.close()
            settled = frozenset(call.event.id for call in calls if call.task_id in confirmed)
            reason = f"RabbitMQ blocks publishers ({blocked}): {error}" if blocked else str(error)
            raise BrokerError(reason, settled) from error
        return refusals

    def connect(self) -> None:
        """Connects and makes ready, so that the first `publish` need not; BrokerError when the broker is away."""
        try:
            with self._translated():
                self._connect()
        except BrokerError:
            # Or the next try would take a connection that never came to be for one that is ready.
            self.close()
            raise

    def close(self) -> None:
        """Drops the connection; the next `publish` makes a new one."""
        connection, self._connection, self._producer, self._confirms = self._connection, None, None, None
        if connection is not None:
            # The socket first: a polite close would wait for an answer from a broker that may be gone.
            with suppress(Exception):
                connection.collect(socket_timeout=1)

    def _connect(self) -> None:
        if self._connection is not None:
            return
        app = self._app
        app.finalize()
        transport = app.connection_for_write().transport
        options = {**_TRANSPORT_OPTIONS.get(transport.driver_type, {}), **app.conf.broker_transport_options}
        # `confirm_publish` waits for each message; here a whole batch is sent and then all its confirms are awaited.
        if "confirm_publish" in options:
            options["confirm_publish"] = False  # not popped: Celery would add it again
        # No heartbeat: nobody could answer it while the bridge sleeps. TCP keepalive is on in py-amqp.
        self._connection = app.connection_for_write(heartbeat=0, transport_options=options)
        self._connection.connect()
        channel = self._connection.default_channel
        self._producer = app.amqp.Producer(channel, auto_declare=False)
        self._confirms = Confirms(channel) if isinstance(channel, amqp.Channel) else None
        self._confirm_deadline = options.get("read_timeout", 30)
        quick: list[Carrier] = []
        if self._confirms:
            # Whoever finds no queue comes back instead of vanishing.
            self._extra = {"mandatory": True}
            quick = [RabbitCarrier(channel, self._confirms)]
        elif is_redis(channel):
            quick = [RedisCarrier(channel)]
        self._carriers = [*quick, PlainCarrier(self._producer, self._extra)]
        self._delayed = DelayedRouter(app, self._connection)
        self._messages = Messages(app)
        self._declared.clear()

    def _send_all(self, calls: Iterable[Call], refusals: list[Refusal]) -> None:
        """In order, by the quickest way that is right for each target; adds what can't be sent to `refusals`."""
        for carrier, run in groupby(self._ways(calls), itemgetter(0)):
            if carrier is None:
                with self._batch():
                    for _, call, _ in run:
                        try:
                            self._send(call)
                        except UNSENDABLE as error:
                            refusals.append(_refusal(call, error))
                continue
            while part := list(islice(run, carrier.portion)):
                load: list[Any] = []
                for _, call, ready in part:
                    try:
                        load.append(ready(call))
                    except UNSENDABLE as error:
                        refusals.append(_refusal(call, error))
                carrier.carry(load)

    def _ways(self, calls: Iterable[Call]) -> Iterator[tuple[Carrier | None, Call, Callable[[Call], Any]]]:
        """With each call its carrier and what makes it ready for that; no carrier: Celery sends it itself."""
        # Somebody who listens to Celery's signals is told of each message, so Celery has to make it.
        message_of = _none if somebody_listens() else self._messages.get
        for target, run in groupby(calls, attrgetter("target")):
            carrier, ready = self._way(message_of(target))
            for call in run:
                yield carrier, call, ready

    def _way(self, message: Message | None) -> tuple[Carrier | None, Callable[[Call], Any]]:
        """As in `_ways`; the queue of the target is declared."""
        if message is None:
            return None, _none
        if message not in self._declared:
            for entity in message.declare:
                self._producer.maybe_declare(entity)
            self._declared.add(message)
        for carrier in self._carriers:
            if form := carrier.form(message):
                return carrier, partial(_ready, form, message)
        return None, _none

    def _send(self, call: Call) -> None:
        router = self._delayed if call.target.options.get("countdown") else None
        send(self._app, call, self._producer, self._extra, router)

    def _batch(self) -> AbstractContextManager[object]:
        """From kombu 5.7 on, one round trip for many messages on Redis; nothing elsewhere."""
        return self._producer.batch(max_size=1000) if hasattr(self._producer, "batch") else nullcontext()

    @contextmanager
    def _translated(self) -> Iterator[None]:
        """Errors of the transport leave this block as BrokerError."""
        try:
            yield
        except (KombuError, amqp.AMQPError, OSError) as error:
            raise BrokerError(_sentence(error)) from error
        except Exception as error:
            connection = self._connection or self._app.connection_for_write()
            if isinstance(error, connection.connection_errors + connection.channel_errors):
                raise BrokerError(_sentence(error)) from error
            raise


def _asked(events: Iterable[Event], targets: Targets, calls: list[Call], refusals: list[Refusal]) -> Iterator[Call]:
    """The events' calls, each made when it is asked for: the broker works on the first ones while the next are made.

    They are added to `calls`, and what has no call to `refusals`.
    """
    for event in events:
        call = call_for(event, targets)
        if isinstance(call, Call):
            calls.append(call)
            yield call
        else:
            refusals.append(call)


def _ready(form: Form, message: Message, call: Call) -> Any:
    return form.fill(message.fill(call))


def _none(_: object) -> None:
    """No message of any target is known."""


def _refusal(call: Call, error: Exception) -> Refusal:
    """A call that can't be expressed as a message is refused; a transport's error is not the call's."""
    if isinstance(error, OperationalError):
        raise error
    return Refusal(call.event, f"{type(error).__name__}: {error}")


def _load(app_path: str) -> Celery:
    # As with `celery -A`: the project is where the command is started, also for the task modules imported below.
    sys.path.insert(0, str(Path.cwd()))
    try:
        app = find_app(app_path)
    except (ImportError, AttributeError, ValueError) as error:
        raise ConfigError(
            f"--app {app_path}: {error}; it is given as module:attribute, such as shop.celery:app"
        ) from error
    if not isinstance(app, Celery):
        raise ConfigError(f"--app {app_path}: is {type(app).__name__}, not a Celery app")
    # The tasks' own options (queue, priority, ...) are known only after their modules are imported.
    app.loader.import_default_modules()
    return app


def _sentence(error: BaseException) -> str:
    text = str(error).strip()
    cause = str(error.__cause__ or "").strip()
    if error.__cause__ and text == cause:
        # Celery repeats an error in a type of its own; the first one has a name that says something.
        error = error.__cause__
    elif cause and cause not in text:
        # kombu's batch says only that it failed; why is what a person needs.
        text = f"{text} ({cause})"
    return f"{type(error).__name__}: {text}" if text else type(error).__name__
