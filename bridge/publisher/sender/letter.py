"""Letter: makes what is published for a message that Celery has made in the program that sent it."""

from collections.abc import Mapping
from typing import Any

import kombu
from kombu.transport.native_delayed_delivery import calculate_routing_key

from bridge.call import Call
from bridge.message import Message, seconds_until

# The exchange that Celery publishes to (celery/app/base.py). It holds a message for 2^28 seconds at most.
_DELAYED = "celery_delayed_27"


class Letter:
    """Makes the options of `Producer.publish` from a call and its message."""

    def __init__(self, message: Message, extra: Mapping[str, Any], delayed: kombu.Queue | None) -> None:
        """`delayed` is the queue of a message that RabbitMQ keeps until its time (see publisher/delayed.py)."""
        self._message = message
        self._extra = extra
        self._delayed = delayed

    def encode(self, call: Call) -> dict[str, Any]:
        """Returns the options of one publish. Celery's own headers come last, so that nothing replaces them."""
        said = self._message.protocol
        exchange, routing_key = said.exchange, said.routing_key
        countdown = 0 if said.eta is None else int(seconds_until(said.eta))
        if self._delayed is not None and countdown > 0:
            exchange = _DELAYED
            routing_key = calculate_routing_key(countdown, self._delayed.routing_key)
        return {
            "body": self._message.body(),
            "content_type": "application/json",
            "content_encoding": "utf-8",
            "exchange": exchange,
            "routing_key": routing_key,
            "headers": {**call.headers, **self._message.fields()},
            "correlation_id": said.id,
            "reply_to": "",
            "priority": said.priority or 0,
            "delivery_mode": said.delivery_mode,
            "compression": said.compression,
            "expiration": None if said.expires is None else seconds_until(said.expires),
            **self._extra,
        }
