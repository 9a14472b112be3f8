"""Carrier: sends filled messages to the broker. The carrier in this module uses kombu and works for every transport."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from typing import Any, Protocol
from weakref import WeakKeyDictionary

from bridge.publisher.confirms import Confirms
from bridge.publisher.message import Filled, Message


class UnsuitableError(Exception):
    """This carrier can't carry such messages, so kombu has to."""


class Form(Protocol):
    """Makes the messages of one target ready for a carrier."""

    def fill(self, filled: Filled) -> Any:
        """Returns what `carry` takes; raises ValueError or a similar error if this message can't be expressed."""


class Carrier(Protocol):
    """Sends messages over one connection, in order."""

    portion: int
    """The most messages in one `carry`."""

    def form(self, message: Message) -> Form | None:
        """Returns the form of this target's messages, or None if this carrier can't carry them."""

    def carry(self, load: Sequence[tuple[int, Any]]) -> Mapping[int, str]:
        """Sends all messages, which may have different targets. Each comes with its place in the batch.

        Returns the places that the broker has already refused, with the reasons. Raises the transport's errors.
        """


class QuickCarrier:
    """The base of the quick carriers: it makes the form of each target's messages once."""

    def __init__(self, make: Callable[[Message], Form]) -> None:
        """`make` makes a form, or raises UnsuitableError."""
        self._make = make
        self._forms: WeakKeyDictionary[Message, Form | None] = WeakKeyDictionary()

    def form(self, message: Message) -> Form | None:
        """See Carrier."""
        if message not in self._forms:
            try:
                self._forms[message] = self._make(message)
            except UnsuitableError:
                self._forms[message] = None
        return self._forms[message]


class PlainCarrier:
    """Calls `Producer.publish` for each message; from kombu 5.7 on in batches if the transport supports them."""

    portion = 1000

    def __init__(self, producer: Any, extra: Mapping[str, Any], confirms: Confirms | None) -> None:
        """`extra` are the options of each publish."""
        self._producer = producer
        self._extra = extra
        self._confirms = confirms

    def form(self, message: Message) -> Form:
        """See Carrier. There is a form for every message."""
        return _Options(message, self._extra)

    def carry(self, load: Sequence[tuple[int, dict[str, Any]]]) -> Mapping[int, str]:
        """See Carrier."""
        with self._producer.batch(max_size=self.portion) if hasattr(self._producer, "batch") else nullcontext():
            for place, options in load:
                if self._confirms:
                    self._confirms.sending = place
                self._producer.publish(**options)
        return {}


class _Options:
    """Makes the options of `Producer.publish`."""

    def __init__(self, message: Message, extra: Mapping[str, Any]) -> None:
        self._headers = message.headers
        self._options = {
            "exchange": message.exchange,
            "routing_key": message.routing_key,
            "content_type": message.content_type,
            "content_encoding": message.content_encoding,
            "delivery_mode": message.delivery_mode,
            "priority": message.priority,
            **message.properties,
            **extra,
        }

    def fill(self, filled: Filled) -> dict[str, Any]:
        """Returns the options of one publish."""
        return {
            **self._options,
            "body": filled.body,
            "headers": {**self._headers, **filled.headers},
            "correlation_id": filled.task_id,
        }
