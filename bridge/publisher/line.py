"""Line: one connection to the broker, with the channels, carriers and declarations that belong to it."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext, suppress
from functools import partial
from itertools import groupby, islice
from operator import itemgetter
from typing import Any
from weakref import WeakSet

import amqp
import kombu
from celery import Celery
from kombu.common import maybe_declare

from bridge.call import Call
from bridge.errors import BrokerError
from bridge.publisher.answer import AnswerError, is_of_publish, is_of_transport, sentence, translated
from bridge.publisher.carrier import Carrier, Form, PlainCarrier
from bridge.publisher.confirms import Confirms
from bridge.publisher.delayed import DelayedRouter
from bridge.publisher.message import Message, Messages, somebody_listens
from bridge.publisher.outlet import Outlet
from bridge.publisher.rabbitmq import RabbitCarrier
from bridge.publisher.redis import RedisCarrier, is_redis
from bridge.publisher.route import Routes
from bridge.publisher.task import send
from bridge.reason import reason

# Timeouts in seconds, so that a peer that swallows packets can't block the bridge for ever. The options of the user's
# app take precedence.
_TRANSPORT_OPTIONS = {
    # The bridge reads confirms: all confirms of a batch must arrive within the read timeout.
    "amqp": {"write_timeout": 15, "read_timeout": 30},
    "redis": {"socket_timeout": 15, "socket_connect_timeout": 5},
}

# A call with its place in the batch. The place identifies the call, since two calls may have one task id.
Placed = tuple[int, Call]
Refused = dict[int, str]


class Line:
    """One connection. It is connected when it is made, and can't be used after an error."""

    def __init__(self, app: Celery) -> None:
        self._app = app
        app.finalize()
        transport = app.connection_for_write().transport
        options = {**_TRANSPORT_OPTIONS.get(transport.driver_type, {}), **app.conf.broker_transport_options}
        # `confirm_publish` waits for each message. A line sends a whole batch and then waits for all its confirms.
        if "confirm_publish" in options:
            options["confirm_publish"] = False  # Celery would add it again if it were removed
        # None and 0 mean "no timeout" to py-amqp. A batch needs a timeout, so it then is 30 s.
        self._confirm_deadline = options.get("read_timeout") or 30
        # No heartbeats, since nothing answers them while the bridge sleeps. py-amqp turns TCP keepalive on.
        self._connection: kombu.Connection = app.connection_for_write(heartbeat=0, transport_options=options)
        try:
            self._open()
        except Exception:
            self.close()
            raise

    def _open(self) -> None:
        self._connection.connect()
        channel: Any = self._connection.default_channel
        producer: Any = self._app.amqp.Producer(channel, auto_declare=False)
        self.confirms = Confirms(channel) if isinstance(channel, amqp.Channel) else None
        # RabbitMQ closes a channel when it refuses an operation on it. Declarations have a channel of their own, so
        # that a refused one does not lose the messages that are in flight.
        self._declaring = self._connection.channel() if self.confirms else channel
        extra: dict[str, Any] = {}
        quick: list[Carrier] = []
        if self.confirms:
            # RabbitMQ returns a mandatory message that no queue takes, instead of dropping it.
            extra = {"mandatory": True}
            quick = [RabbitCarrier(channel, self.confirms)]
        elif is_redis(channel):
            quick = [RedisCarrier(channel, self._connection)]
        self._carriers: list[Carrier] = [*quick, PlainCarrier(producer, extra, self.confirms)]
        self._delayed = DelayedRouter(self._app, self._connection)
        self._routes = Routes(self._app, channel, self._connection)
        self._outlet = Outlet(producer, self._connection, self.declare, self._routes)
        self._extra = extra
        self._messages = Messages(self._app)
        # Messages whose queues this connection has declared. Declaring again would cost as much as publishing.
        self._declared: WeakSet[Message] = WeakSet()
        self._denied: dict[object, str] = {}
        self._arrived: set[int] = set()

    def close(self) -> None:
        """Drops the connection."""
        # Closes the socket without AMQP's closing handshake, which would wait for a broker that may be gone.
        with suppress(Exception):
            self._connection.collect(socket_timeout=1)

    def begin(self) -> None:
        """Starts a new batch: the broker may accept declarations by now that it refused before."""
        self._denied.clear()
        self._delayed.begin()

    def send(self, calls: Iterable[Placed], refused: Refused) -> None:
        """Publishes all calls, in order, and waits until the broker has them; adds to `refused` what can't be sent.

        Raises BrokerError or AnswerError; `arrived` then has the places that the broker nevertheless has.
        """
        self._arrived = set()
        if self.confirms:
            self.confirms.begin()
        try:
            self._send(calls, refused)
            if self.confirms:
                self.confirms.wait(self._confirm_deadline)
        except Exception as error:
            raise translated(error, self._connection) from error

    @property
    def arrived(self) -> frozenset[int]:
        """The places of the last `send` that the broker certainly has."""
        return self.confirms.settled if self.confirms else frozenset(self._arrived)

    def declare(self, entity: Any) -> None:
        """Declares a queue or an exchange once for each connection; raises AnswerError if the broker refuses it."""
        name = type(entity), getattr(entity, "name", None)
        if name in self._denied:
            raise AnswerError(self._denied[name])
        self._routes.check_entity(entity)
        try:
            maybe_declare(entity, self._declaring)
        except Exception as error:
            if is_of_publish(error):
                raise
            if not is_of_transport(error, self._connection):
                # The name or an argument can't be expressed in the protocol: nothing was sent.
                self._denied[name] = reason(error)
                raise AnswerError(self._denied[name]) from error
            answer = translated(error, self._connection)
            if isinstance(answer, AnswerError):
                self._denied[name] = str(answer)
            raise answer from error

    def _send(self, calls: Iterable[Placed], refused: Refused) -> None:
        """Publishes each call by the quickest way that works for its target."""
        for carrier, run in groupby(self._ways(calls, refused), itemgetter(0)):
            if carrier is None:
                with self._batch():
                    places = [place for _, place, call, _ in run if self._sent(place, call, refused)]
                self._arrived.update(places)
                continue
            while part := list(islice(run, carrier.portion)):
                load: list[tuple[int, Any]] = []
                for _, place, call, ready in part:
                    try:
                        load.append((place, ready(call)))
                    except MemoryError:
                        raise
                    except Exception as error:  # any error here concerns this call only
                        refused[place] = reason(error)
                self._carry(carrier, load, refused)

    def _carry(self, carrier: Carrier, load: Sequence[tuple[int, Any]], refused: Refused) -> None:
        try:
            not_taken = carrier.carry(load)
        except BrokerError as error:
            self._arrived |= error.settled
            raise
        refused.update(not_taken)
        self._arrived.update(place for place, _ in load if place not in not_taken)

    def _ways(
        self, calls: Iterable[Placed], refused: Refused
    ) -> Iterator[tuple[Carrier | None, int, Call, Callable[[Call], Any]]]:
        """Yields each call with its carrier and the function that makes the call ready for it.

        The carrier is None if Celery has to send the call itself.
        """
        # Celery sends signals only for messages that it makes itself. If a signal has receivers, it makes all of them.
        message_of = _none if somebody_listens() else self._messages.get
        for target, run in groupby(calls, lambda placed: placed[1].target):
            try:
                carrier, ready = self._way(message_of(target))
            except AnswerError as error:
                refused.update((place, str(error)) for place, _ in run)
                continue
            for place, call in run:
                yield carrier, place, call, ready

    def _way(self, message: Message | None) -> tuple[Carrier | None, Callable[[Call], Any]]:
        """Declares the queue of a target; returns its carrier and ready-making function, as in `_ways`."""
        if message is None:
            return None, _none
        if message not in self._declared:
            for entity in message.declare:
                self.declare(entity)
            self._declared.add(message)
        self._routes.check(message.exchange, message.routing_key)
        for carrier in self._carriers:
            if form := carrier.form(message):
                return carrier, partial(_ready, form, message)
        return None, _none

    def _sent(self, place: int, call: Call, refused: Refused) -> bool:
        """Sends a call with Celery; returns whether it was sent.

        Raises errors of the transport and of earlier messages; other errors are added to `refused`.
        """
        if self.confirms:
            self.confirms.sending = place
        self._outlet.failed = self._delayed.failed = False
        try:
            send(
                self._app,
                call,
                self._outlet,
                self._extra,
                self._delayed if call.target.options.get("countdown") else None,
            )
        except (MemoryError, BrokerError):
            raise
        except AnswerError as error:
            refused[place] = str(error)
        except Exception as error:
            # A router, a serializer or a task's options may raise errors that look like the transport's.
            if self._outlet.failed or (self._delayed.failed and is_of_transport(error, self._connection)):
                raise
            refused[place] = sentence(error)
        return place not in refused

    def _batch(self) -> AbstractContextManager[object]:
        """Returns a context in which kombu (5.7 or newer) publishes many messages to Redis in one round trip.

        With other versions and brokers the context does nothing.
        """
        return self._outlet.batch(max_size=1000) if hasattr(self._outlet, "batch") else nullcontext()


def _ready(form: Form, message: Message, call: Call) -> Any:
    return form.fill(message.fill(call))


def _none(_: object) -> None:
    """Returns None: stands for a lookup that knows no message, and for a call that needs no preparation."""
