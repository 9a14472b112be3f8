"""Delayed: what RabbitMQ needs before it can keep a message for its countdown itself.

With quorum queues Celery publishes such a message to exchanges that a worker declares when it starts (native delayed
delivery). The bridge, like everybody who publishes with Celery, must not need a worker that has been there: what it
publishes to is declared first, as the queue of any other message is.
"""

from typing import Any

import kombu
from celery import Celery
from celery.utils.quorum_queues import detect_quorum_queues
from kombu.common import Broadcast
from kombu.transport.native_delayed_delivery import (
    bind_queue_to_native_delayed_delivery_exchange,
    declare_native_delayed_delivery_exchanges_and_queues,
)

from bridge.publisher.answer import AnswerError, translated


class DelayedRouter:
    """The app's router for messages with a countdown, over one connection: where it leads to is made ready."""

    def __init__(self, app: Celery, connection: kombu.Connection) -> None:
        self._app = app
        self._connection = connection
        # Names of queues; declaring again would take hundreds of round trips.
        self._ready: set[str] = set()
        # What RabbitMQ has refused in this batch, and why.
        self._denied: dict[str, AnswerError] = {}
        self.failed = False
        """Whether the last error was raised by the connection here."""

    def begin(self) -> None:
        """A new batch: what was refused may be right by now."""
        self._denied.clear()

    def route(self, options: Any, name: str, args: Any, kwargs: Any, task_type: Any) -> dict[str, Any]:
        """As the app's router; AnswerError where RabbitMQ does not take a declaration, BrokerError where it is away."""
        app: Any = self._app
        routed: dict[str, Any] = app.amqp.router.route(options, name, args, kwargs, task_type)
        queue = routed.get("queue")
        # Without a queue of its own, a message is routed by bindings that others make; a direct exchange can't delay.
        if queue is None or isinstance(queue, Broadcast) or queue.exchange.type == "direct":
            return routed
        if queue.name not in self._ready and detect_quorum_queues(app, self._connection.transport.driver_type)[0]:
            if queue.name in self._denied:
                raise self._denied[queue.name]
            try:
                self._make_ready(queue)
            except Exception as error:
                self.failed = True
                answer = translated(error, self._connection)
                if isinstance(answer, AnswerError):
                    self._denied[queue.name] = answer
                raise answer from error
            self._ready.add(queue.name)
        return routed

    def _make_ready(self, queue: kombu.Queue) -> None:
        # kombu opens channels and leaves them open: they end with a connection of their own.
        with self._connection.clone() as connection:
            declare_native_delayed_delivery_exchanges_and_queues(
                connection, self._app.conf.broker_native_delayed_delivery_queue_type
            )
            queue(connection.default_channel).declare()
            bind_queue_to_native_delayed_delivery_exchange(connection, queue)
