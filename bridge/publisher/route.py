"""Route: whether a queue takes what is published to an exchange, where the transport itself does not say it.

RabbitMQ returns such a message ("mandatory"). kombu's own transports, Redis among them, drop it without a word.
"""

from typing import Any

from kombu.transport.virtual import Channel
from kombu.transport.virtual.exchange import FanoutExchange

from bridge.publisher.answer import AnswerError


class Routes:
    """The exchanges of one channel, as kombu sees them."""

    def __init__(self, channel: Any) -> None:
        self._channel = channel if isinstance(channel, Channel) else None

    def check(self, exchange: Any, routing_key: str) -> None:
        """AnswerError when no queue is bound. An exchange that is a fanout may have nobody who listens."""
        name = getattr(exchange, "name", exchange)
        if self._channel is None or not name:
            return  # the routing key is the queue's name
        kind = self._channel.typeof(name)
        if isinstance(kind, FanoutExchange):
            return
        if not kind.lookup(self._channel.get_table(name), name, routing_key, None):
            raise AnswerError(f"no queue takes messages for exchange {name!r}, routing key {routing_key!r}")
