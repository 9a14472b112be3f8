"""Delayed: declares what RabbitMQ needs to hold a message until its countdown has passed.

With quorum queues Celery publishes such a message to exchanges that a worker declares when it starts (native delayed
delivery). The bridge must not depend on a worker that started before, so it declares these exchanges first, as it
declares the queue of any other message.
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
    """The app's router for messages with a countdown. It also declares, over one connection, where they are sent."""

    def __init__(self, app: Celery, connection: kombu.Connection) -> None:
        self._app = app
        self._connection = connection
        # Names of queues that are declared. Declaring again would take hundreds of round trips.
        self._ready: set[str] = set()
        # The queues that RabbitMQ refused to declare in this batch, with its errors.
        self._denied: dict[str, AnswerError] = {}
        self.failed = False
        """Whether the last error was raised while this router declared a queue."""

    def begin(self) -> None:
        """Starts a new batch: RabbitMQ may accept by now what it refused before."""
        self._denied.clear()

    def route(self, options: Any, name: str, args: Any, kwargs: Any, task_type: Any) -> dict[str, Any]:
        """Routes like the app's router.

        Raises AnswerError if RabbitMQ refuses a declaration, BrokerError if it is away.
        """
        app: Any = self._app
        routed: dict[str, Any] = app.amqp.router.route(options, name, args, kwargs, task_type)
        if (queue := routed.get("queue")) is not None:
            self.is_ready(queue)
        return routed

    def is_ready(self, queue: kombu.Queue) -> bool:
        """Whether messages for this queue are delayed in this way. If so, declares what they need.

        Raises AnswerError if RabbitMQ refuses a declaration, BrokerError if it is away.
        """
        # A message without a queue of its own is routed by bindings that others make. A direct exchange can't delay.
        if isinstance(queue, Broadcast) or queue.exchange.type == "direct":
            return False
        if queue.name in self._ready:
            return True
        if not detect_quorum_queues(self._app, self._connection.transport.driver_type)[0]:
            return False
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
        return True

    def _make_ready(self, queue: kombu.Queue) -> None:
        # kombu leaves the channels that it opens here open. They get a connection of their own and are closed with it.
        with self._connection.clone() as connection:
            declare_native_delayed_delivery_exchanges_and_queues(
                connection, self._app.conf.broker_native_delayed_delivery_queue_type
            )
            queue(connection.default_channel).declare()
            bind_queue_to_native_delayed_delivery_exchange(connection, queue)
