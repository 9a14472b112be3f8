"""Connection: one connection to the broker, with the channels, senders and declarations that belong to it."""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any
from weakref import WeakSet

import amqp
import kombu
from celery import Celery
from kombu.common import maybe_declare

from bridge.call import Target
from bridge.message import Message
from bridge.publisher.answer import AnswerError, is_of_publish, is_of_transport, translated
from bridge.publisher.broker import transport_options
from bridge.publisher.confirms import Confirms
from bridge.publisher.delayed import DelayedRouter
from bridge.publisher.outlet import Outlet
from bridge.publisher.receipt import Receipt
from bridge.publisher.route import Routes
from bridge.publisher.sender.base import Encoder, Sender
from bridge.publisher.sender.celery import CelerySender
from bridge.publisher.sender.kombu import KombuSender
from bridge.publisher.sender.letter import LetterSender
from bridge.publisher.sender.rabbitmq import RabbitSender
from bridge.publisher.sender.redis import RedisSender, is_redis
from bridge.publisher.template import Template, Templates, somebody_listens
from bridge.reason import reason


class Connection:
    """One connection. It is connected when it is made, and can't be used after an error."""

    def __init__(self, app: Celery) -> None:
        self._app = app
        app.finalize()
        options = transport_options(app)
        # `confirm_publish` waits for each message. The bridge sends a whole batch and then waits for all its confirms.
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
        self._routes = Routes(self._app, channel, self._connection)
        extra: dict[str, Any] = {}
        quick: list[Sender] = []
        if self.confirms:
            # RabbitMQ returns a mandatory message that no queue takes, instead of dropping it.
            extra = {"mandatory": True}
            quick = [RabbitSender(channel, self.confirms)]
        elif is_redis(channel):
            quick = [RedisSender(channel, self._connection)]
        outlet = Outlet(producer, self._connection, self.declare, self._routes)
        self._delayed = DelayedRouter(self._app, self._connection)
        self._celery = CelerySender(self._app, self._connection, outlet, extra, self.confirms, self._delayed)
        self._letters = LetterSender(outlet, extra, self.confirms)
        self._senders: list[Sender] = [*quick, KombuSender(producer, extra, self.confirms), self._celery]
        self._templates = Templates(self._app)
        # Templates whose queues this connection has declared. Declaring again would cost as much as publishing.
        self._declared: WeakSet[Template] = WeakSet()
        # The names of the queues that it has declared for messages without a template.
        self._queues: set[str] = set()
        self._denied: dict[object, str] = {}

    def close(self) -> None:
        """Drops the connection."""
        # Closes the socket without AMQP's closing handshake, which would wait for a broker that may be gone.
        with suppress(Exception):
            self._connection.collect(socket_timeout=1)

    def begin(self) -> None:
        """Starts a new batch: the broker may accept declarations by now that it refused before."""
        self._denied.clear()
        self._delayed.begin()

    @contextmanager
    def confirming(self, receipt: Receipt) -> Iterator[None]:
        """Waits at the end until the broker has everything that was sent in this context.

        Raises BrokerError or AnswerError. The receipt then has the events that have arrived nevertheless.
        """
        if self.confirms:
            self.confirms.begin()
        try:
            yield
            if self.confirms:
                self.confirms.wait(self._confirm_deadline)
        except Exception as error:
            if self.confirms:
                receipt.arrived |= self.confirms.settled
            raise translated(error, self._connection) from error

    def route(self, target: Target) -> tuple[Sender, Encoder]:
        """Declares the queue of a target; returns the quickest sender that can carry its messages, and their encoder.

        Raises AnswerError if no queue takes them, and the transport's errors.
        """
        # Celery sends signals only for messages that it makes itself. If a signal has receivers, it makes all of them.
        template = None if somebody_listens() else self._templates.get(target)
        if template is not None:
            self._prepare(template)
        for sender in self._senders:
            if encoder := sender.encoder(template):
                return sender, encoder
        raise AssertionError("Celery's sender can send every call")

    def route_message(self, message: Message) -> tuple[Sender, Encoder]:
        """Does what `route` does, for a message that Celery has made already, in the program that sent it."""
        said = message.protocol
        delayed: kombu.Queue | None = None
        if said.queue is not None and (said.queue not in self._queues or said.eta is not None):
            queue = self._queue(said.queue)
            self.declare(queue)
            self._queues.add(said.queue)
            if said.eta is not None and self._delayed.is_ready(queue):
                delayed = queue
        return self._letters, self._letters.letter(message, delayed)

    def _queue(self, name: str) -> kombu.Queue:
        app: Any = self._app
        try:
            queue: kombu.Queue = app.amqp.queues[name]
        except KeyError:
            raise AnswerError(f"the app has no queue {name!r}, and creates none (task_create_missing_queues)") from None
        return queue

    def _prepare(self, template: Template) -> None:
        if template not in self._declared:
            for entity in template.declare:
                self.declare(entity)
            self._declared.add(template)
        self._routes.check(template.exchange, template.routing_key)

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
