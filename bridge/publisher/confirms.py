"""Confirms: collects which messages of a channel RabbitMQ has confirmed, for many messages at once.

It also records why no confirms come: RabbitMQ announces when it blocks publishers, and gives the reason.
"""

import socket
from contextlib import suppress
from time import monotonic
from typing import Any

from amqp import spec

from bridge.errors import BrokerError
from bridge.publisher.answer import AnswerError

# Bytes of a header frame beside the properties: 8 of the frame, and 14 for the class and the size of the body.
_FRAME_OVERHEAD = 22

# A place in the batch, and the task's id, which is None for messages that are not tasks (Celery's task-sent event).
_Expected = tuple[int, str | None]


class Confirms:
    """RabbitMQ's publisher confirms of one channel.

    A confirm names the message by its number on the channel, or all up to that number ("multiple").
    Source: https://www.rabbitmq.com/docs/confirms#publisher-confirms
    """

    def __init__(self, channel: Any) -> None:
        self._channel = channel
        self._published = 0
        self._lowest = 1
        # The keys are the messages' numbers on the channel.
        self._outstanding: dict[int, _Expected] = {}
        self._confirmed: set[_Expected] = set()
        self._refused: set[_Expected] = set()
        # Task ids, since RabbitMQ does not number the messages that it returns.
        self._returned: set[str | None] = set()
        self._reason = ""
        self.sending = 0
        """The place in the batch of the message that kombu publishes next."""
        self._blocked: str | None = None
        self._hear_of_blocking(channel.connection)
        channel.events["basic_ack"].add(self._on_ack)
        channel.events["basic_nack"].add(self._on_nack)
        channel.events["basic_return"].add(self._on_return)
        channel.confirm_select()
        # Messages are counted where frames are sent: Celery may publish more than the task (its task-sent event), and
        # RabbitMQ numbers every message on the channel.
        self._publish = channel.basic_publish
        channel.basic_publish = self._counted_publish

    def expect(self, place: int, task_id: str | None) -> None:
        """Counts a message that was written, or is about to be written, to the channel."""
        self._published += 1
        self._outstanding[self._published] = place, task_id

    def begin(self) -> None:
        """Starts a new batch."""
        self._confirmed.clear()

    @property
    def settled(self) -> frozenset[int]:
        """The places of the batch that the broker certainly has, with everything that Celery published for them."""
        open_ = {place for place, _ in self._outstanding.values()} | {place for place, _ in self._refused}
        return frozenset(
            place for place, task_id in self._confirmed if place not in open_ and task_id not in self._returned
        )

    def look(self) -> str | None:
        """Reads frames that arrived while we were writing. Returns why RabbitMQ blocks publishers, or None.

        Source: https://www.rabbitmq.com/docs/connection-blocked
        """
        # An error, such as the end of the connection, means that there is nothing more to read.
        with suppress(Exception):
            while True:
                self._channel.connection.drain_events(timeout=0)
        return self._blocked

    def wait(self, timeout: float) -> None:
        """Waits until the broker has answered for every message.

        Raises BrokerError if it refused a message, or if an answer is missing after `timeout` seconds. Raises
        AnswerError if it returned a message because no queue takes it.
        """
        deadline = monotonic() + timeout
        while self._outstanding:
            remaining = deadline - monotonic()
            if remaining <= 0:
                raise BrokerError(f"the broker did not confirm {len(self._outstanding)} messages within {timeout:g} s")
            with suppress(socket.timeout):
                self._channel.connection.drain_events(timeout=remaining)
        if self._refused:
            raise BrokerError("the broker refused a message (a full queue that rejects messages, or an internal error)")
        if self._returned:
            raise AnswerError(self._reason)

    def _counted_publish(self, message: Any, *args: Any, **kwargs: Any) -> Any:
        size, largest = len(message._serialize_properties()), self._channel.connection.frame_max - _FRAME_OVERHEAD
        if size > largest:
            # RabbitMQ would close the connection without naming the message.
            raise ValueError(f"the headers take {size:,} bytes, but a frame holds at most {largest:,}")
            # The message is counted after `_publish`: one that could not be made into frames gets no number.
        published = self._publish(message, *args, **kwargs)
        self.expect(self.sending, message.properties.get("correlation_id"))
        return published

    def _hear_of_blocking(self, connection: Any) -> None:
        # py-amqp 5.4 has callbacks for this, but does not read the reason that RabbitMQ gives.
        method = spec.Connection.Blocked
        connection._METHODS = {**connection._METHODS, method: spec.method(method, "s")}
        connection._callbacks[method] = self._on_blocked
        connection.on_unblocked = self._on_unblocked

    def _on_blocked(self, reason: str) -> None:
        self._blocked = reason

    def _on_unblocked(self) -> None:
        self._blocked = None

    def _on_ack(self, tag: int, multiple: bool) -> None:
        self._confirmed.update(self._answered(tag, multiple))

    def _on_nack(self, tag: int, multiple: bool) -> None:
        self._refused.update(self._answered(tag, multiple))

    def _on_return(self, error: Exception, exchange: str, routing_key: str, message: Any) -> None:
        # RabbitMQ confirms a returned message too, after this.
        self._returned.add(message.properties.get("correlation_id"))
        self._reason = f"no queue takes messages for exchange {exchange!r}, routing key {routing_key!r}"

    def _answered(self, tag: int, multiple: bool) -> list[_Expected]:
        tags = range(self._lowest, tag + 1) if multiple else (tag,)
        if multiple:
            self._lowest = tag + 1
        return [self._outstanding.pop(one) for one in tags if one in self._outstanding]
