"""Kombu: publishes each message through kombu's producer, which works for every transport."""

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

from bridge.call import Call
from bridge.publisher.confirms import Confirms
from bridge.publisher.receipt import Receipt
from bridge.publisher.template import Template


class KombuSender:
    """Calls `Producer.publish` for each message."""

    batch_size = 1000

    def __init__(self, producer: Any, extra: Mapping[str, Any], confirms: Confirms | None) -> None:
        """`extra` are the options of each publish."""
        self._producer = producer
        self._extra = extra
        self._confirms = confirms

    def encoder(self, template: Template | None) -> "_Options | None":
        """See Sender."""
        return None if template is None else _Options(template, self._extra)

    def send(self, messages: Sequence[tuple[int, dict[str, Any]]], receipt: Receipt) -> None:
        """See Sender."""
        with batch(self._producer, self.batch_size):
            for place, options in messages:
                if self._confirms:
                    self._confirms.sending = place
                self._producer.publish(**options)
        if self._confirms is None:
            receipt.arrived.update(place for place, _ in messages)


def batch(producer: Any, size: int) -> AbstractContextManager[object]:
    """Returns a context in which kombu (5.7 or newer) publishes many messages to Redis in one round trip.

    With other versions and brokers the context does nothing.
    """
    return producer.batch(max_size=size) if hasattr(producer, "batch") else nullcontext()


class _Options:
    """Makes the options of `Producer.publish`."""

    def __init__(self, template: Template, extra: Mapping[str, Any]) -> None:
        self._template = template
        self._options = {
            "exchange": template.exchange,
            "routing_key": template.routing_key,
            "content_type": template.content_type,
            "content_encoding": template.content_encoding,
            "delivery_mode": template.delivery_mode,
            "priority": template.priority,
            **template.properties,
            **extra,
        }

    def encode(self, call: Call) -> dict[str, Any]:
        """Returns the options of one publish."""
        rendered = self._template.render(call)
        return {
            **self._options,
            "body": rendered.body,
            "headers": {**self._template.headers, **rendered.headers},
            "correlation_id": rendered.task_id,
        }
