"""Route: checks whether a queue takes a message, and that it does not go where it would do harm.

RabbitMQ returns a message that no queue takes ("mandatory"). kombu's own transports, such as Redis, drop it silently.
"""

from typing import Any

import kombu
from celery import Celery
from celery.app.control import Control
from celery.events.event import get_exchange
from kombu.transport.virtual import Channel
from kombu.transport.virtual.exchange import FanoutExchange

from bridge.publisher.answer import AnswerError

# Attributes of kombu's channel to Redis that name keys which are not queues.
_KEYS_OF_REDIS = ("unacked_key", "unacked_index_key", "unacked_mutex_key")
_PREFIX_OF_REDIS = "_kombu."


class Routes:
    """The exchanges and queues that kombu knows on one channel."""

    def __init__(self, app: Celery, channel: Any, connection: kombu.Connection) -> None:
        self._channel = channel if isinstance(channel, Channel) else None
        self._exchanges = _exchanges(app, connection)
        self._keys = {getattr(self._channel, name, None) for name in _KEYS_OF_REDIS} - {None}
        self._separator: str = getattr(self._channel, "sep", "") if self._keys else ""

    def check(self, exchange: Any, routing_key: str) -> None:
        """Raises AnswerError if no queue is bound to the exchange. A fanout exchange needs no queue."""
        name = getattr(exchange, "name", exchange)
        if self._channel is None:
            return
        if not name:
            self._check_name(routing_key)  # without an exchange, the routing key is the queue's name
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
        """Raises AnswerError for a queue or an exchange whose declaration would break the queues of others."""
        if isinstance(entity, kombu.Queue):
            self._check_name(entity.name)
        exchange = getattr(entity, "exchange", entity)
        same = self._exchanges.get(exchange.name)
        if same and _kind(exchange) not in same:
            raise AnswerError(
                f"the queue can't use the exchange {exchange.name!r}: "
                "the app has an exchange of this name, but of another kind"
            )

    def _check_name(self, queue: str) -> None:
        if self._channel is not None and not queue:
            raise AnswerError("no queue takes messages for exchange '', routing key ''")
        if self._keys and (queue in self._keys or queue.startswith(_PREFIX_OF_REDIS) or self._separator in queue):
            # A message pushed there would damage records of the workers, or arrive in another queue.
            raise AnswerError(
                f"the queue name {queue!r} can't be used: kombu keeps its own records in Redis under such names"
            )


def _exchanges(app: Any, connection: kombu.Connection) -> dict[str, set[Any]]:
    """Returns the kinds of the exchanges that the app names, and of those for Celery's remote control and events.

    Celery declares an exchange for each queue that is not defined, and the first declaration of an exchange decides
    its kind.
    """
    # Not `app.control`: Celery would import this class here, in the middle of a takeover.
    control: Any = Control(app)
    mailbox = control.mailbox
    named = [mailbox.exchange, mailbox.reply_exchange, get_exchange(connection, app.conf.event_exchange)]
    for queue in app.amqp.Queues(app.conf.task_queues).values():
        named += [queue.exchange, *(binding.exchange for binding in queue.bindings)]
    kinds: dict[str, set[Any]] = {}
    for exchange in named:
        if exchange is not None and exchange.name:
            kinds.setdefault(exchange.name, set()).add(_kind(exchange))
    return kinds


def _kind(exchange: kombu.Exchange) -> tuple[object, ...]:
    """Returns the properties that brokers compare."""
    return exchange.type, exchange.durable, exchange.auto_delete, repr(exchange.arguments or {})
