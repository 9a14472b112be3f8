"""Line: one connection to the broker, and all that rests on it: channels, carriers, what is declared."""

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

# A peer that swallows packets must not hold the bridge for ever; seconds. What the user's app says comes first.
_TRANSPORT_OPTIONS = {
    # Confirms are reads: all of a batch have to come within the read timeout.
    "amqp": {"write_timeout": 15, "read_timeout": 30},
    "redis": {"socket_timeout": 15, "socket_connect_timeout": 5},
}

# A call with its place in the batch: what tells it from all others, as two may have one task id.
Placed = tuple[int, Call]
Refused = dict[int, str]


class Line:
    """Made connected; after an error it is of no use any more."""

    def __init__(self, app: Celery) -> None:
        self._app = app
        app.finalize()
        transport = app.connection_for_write().transport
        options = {**_TRANSPORT_OPTIONS.get(transport.driver_type, {}), **app.conf.broker_transport_options}
        # `confirm_publish` waits for each message; here a whole batch is sent and then all its confirms are awaited.
        if "confirm_publish" in options:
            options["confirm_publish"] = False  # not popped: Celery would add it again
        # None or 0 are py-amqp's words for no timeout; a batch has one all the same.
        self._confirm_deadline = options.get("read_timeout") or 30
        # No heartbeat: nobody could answer it while the bridge sleeps. TCP keepalive is on in py-amqp.
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
        # RabbitMQ closes a channel on which it refuses something: the messages under way must not go with it.
        self._declaring = self._connection.channel() if self.confirms else channel
        extra: dict[str, Any] = {}
        quick: list[Carrier] = []
        if self.confirms:
            # Whoever finds no queue comes back instead of vanishing.
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
        # Messages whose queue this connection has declared; declaring again would cost as much as publishing.
        self._declared: WeakSet[Message] = WeakSet()
        self._denied: dict[object, str] = {}
        self._arrived: set[int] = set()

    def close(self) -> None:
        """Drops the connection."""
        # The socket first: a polite close would wait for an answer from a broker that may be gone.
        with suppress(Exception):
            self._connection.collect(socket_timeout=1)

    def begin(self) -> None:
        """A new batch: what the broker refused to declare may be right by now."""
        self._denied.clear()
        self._delayed.begin()

    def send(self, calls: Iterable[Placed], refused: Refused) -> None:
        """Publishes all, in order, and waits until the broker has them; adds what can't be sent to `refused`.

        BrokerError or AnswerError: `arrived` says what the broker has all the same.
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
        """Places of the last `send` that the broker has for certain."""
        return self.confirms.settled if self.confirms else frozenset(self._arrived)

    def declare(self, entity: Any) -> None:
        """A queue, or an exchange, once for each connection; AnswerError when the broker refuses it."""
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
                # A name or an argument that can't be expressed: nothing was sent.
                self._denied[name] = reason(error)
                raise AnswerError(self._denied[name]) from error
            answer = translated(error, self._connection)
            if isinstance(answer, AnswerError):
                self._denied[name] = str(answer)
            raise answer from error

    def _send(self, calls: Iterable[Placed], refused: Refused) -> None:
        """By the quickest way that is right for each target."""
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
                    except Exception as error:  # whatever it is, it is this call's
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
        """With each call its carrier and what makes it ready for that; no carrier: Celery sends it itself."""
        # Somebody who listens to Celery's signals is told of each message, so Celery has to make it.
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
        """As in `_ways`; the queue of the target is declared."""
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
        """Whether Celery has sent it; the transport's errors, and those of earlier messages, are raised."""
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
            # A router, a serializer, a task's options may raise what looks like the transport's.
            if self._outlet.failed or (self._delayed.failed and is_of_transport(error, self._connection)):
                raise
            refused[place] = sentence(error)
        return place not in refused

    def _batch(self) -> AbstractContextManager[object]:
        """From kombu 5.7 on, one round trip for many messages on Redis; nothing elsewhere."""
        return self._outlet.batch(max_size=1000) if hasattr(self._outlet, "batch") else nullcontext()


def _ready(form: Form, message: Message, call: Call) -> Any:
    return form.fill(message.fill(call))


def _none(_: object) -> None:
    """No message of any target is known."""
