"""Letter: publishes messages that Celery has made in the program that sent them, each with everything that it says."""

from collections.abc import Mapping, Sequence
from typing import Any

import kombu
from kombu.transport.native_delayed_delivery import calculate_routing_key

from bridge.call import Call
from bridge.message import Message, seconds_until
from bridge.publisher.confirms import Confirms
from bridge.publisher.outlet import Outlet
from bridge.publisher.receipt import Receipt
from bridge.publisher.sender.one_by_one import BATCH_SIZE, OneByOne
from bridge.publisher.template import Template

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


class LetterSender:
    """Publishes each message through kombu. What one message contains can't stop the others: senders choose it freely.

    So an error that is not the transport's refuses this message: an exchange whose name is too long, a header that the
    protocol can't express, a compression that does not exist.
    """

    batch_size = BATCH_SIZE

    def __init__(self, outlet: Outlet, extra: Mapping[str, Any], confirms: Confirms | None) -> None:
        """`extra` are the options of each publish."""
        self._way = OneByOne(outlet, confirms)
        self._extra = extra

    def encoder(self, template: Template | None) -> None:
        """Returns None: these messages have no template. `letter` makes their encoder."""

    def letter(self, message: Message, delayed: kombu.Queue | None) -> Letter:
        return Letter(message, self._extra, delayed)

    def send(self, messages: Sequence[tuple[int, dict[str, Any]]], receipt: Receipt) -> None:
        """See Sender."""
        self._way.send(messages, receipt, self._publish, lambda _: self._way.outlet.failed)

    def _publish(self, options: dict[str, Any]) -> None:
        self._way.outlet.publish(**options)
