"""Route: where a message must not go, and whether a queue takes it, where the transport itself does not say it.

RabbitMQ returns what no queue takes ("mandatory"). kombu's own transports, Redis among them, drop it without a word.
"""

from typing import Any

import kombu
from celery import Celery
from celery.events.event import get_exchange
from kombu.transport.virtual import Channel
from kombu.transport.virtual.exchange import FanoutExchange

from bridge.publisher.answer import AnswerError

# Of kombu's channel to Redis: the names of keys that are no queues.
_KEYS_OF_REDIS = ("unacked_key", "unacked_index_key", "unacked_mutex_key")
_PREFIX_OF_REDIS = "_kombu."


class Routes:
    """The exchanges and queues of one channel, as kombu sees them."""

    def __init__(self, app: Celery, channel: Any, connection: kombu.Connection) -> None:
        self._channel = channel if isinstance(channel, Channel) else None
        self._exchanges = _exchanges(app, connection)
        self._keys = {getattr(self._channel, name, None) for name in _KEYS_OF_REDIS} - {None}
        self._separator: str = getattr(self._channel, "sep", "") if self._keys else ""

    def check(self, exchange: Any, routing_key: str) -> None:
        """AnswerError when no queue is bound. An exchange that is a fanout may have nobody who listens."""
        name = getattr(exchange, "name", exchange)
        if self._channel is None:
            return
        if not name:
            self._check_name(routing_key)  # it is the queue's name
            return
        kind = self._channel.typeof(name)
        if isinstance(kind, FanoutExchange):
            return
        queues = kind.lookup(self._channel.get_table(name), name, routing_key, None)
        if not queues:
            raise AnswerError(f"no queue takes messages for exchange {name!r}, routing key {routing_key!r}")
        for queue in queues:
            self._check_name(queue)

    def check_entity(self, entity: Any) -> None:
        """AnswerError for a queue or an exchange that must not be declared, or others could not use theirs."""
        if isinstance(entity, kombu.Queue):
            self._check_name(entity.name)
        exchange = getattr(entity, "exchange", entity)
        same = self._exchanges.get(exchange.name)
        if same and _kind(exchange) not in same:
            raise AnswerError(
                f"the queue can't have the exchange {exchange.name!r}: the app has one of this name and another kind"
            )

    def _check_name(self, queue: str) -> None:
        if self._channel is not None and not queue:
            raise AnswerError("no queue takes messages for exchange '', routing key ''")
        if self._keys and (queue in self._keys or queue.startswith(_PREFIX_OF_REDIS) or self._separator in queue):
            # Pushed there, a message would break the workers' own records, or reach a queue that is not named.
            raise AnswerError(
                f"the queue's name {queue!r} can't be used: kombu keeps its own records on Redis under it"
            )


def _exchanges(app: Any, connection: kombu.Connection) -> dict[str, set[Any]]:
    """The kinds of the exchanges that the app names, with those of Celery's remote control and events.

    Celery makes an exchange for each queue that nobody has defined, and whoever makes an exchange first says its kind.
    """
    mailbox = app.control.mailbox
    named = [mailbox.exchange, mailbox.reply_exchange, get_exchange(connection, app.conf.event_exchange)]
    for queue in app.amqp.Queues(app.conf.task_queues).values():
        named += [queue.exchange, *(binding.exchange for binding in queue.bindings)]
    kinds: dict[str, set[Any]] = {}
    for exchange in named:
        if exchange is not None and exchange.name:
            kinds.setdefault(exchange.name, set()).add(_kind(exchange))
    return kinds


def _kind(exchange: kombu.Exchange) -> tuple[object, ...]:
    """What brokers compare."""
    return exchange.type, exchange.durable, exchange.auto_delete, repr(exchange.arguments or {})
