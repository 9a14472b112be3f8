"""Carrier: how filled messages get to the broker; this one goes by way of kombu, whatever the transport."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from typing import Any, Protocol
from weakref import WeakKeyDictionary

from bridge.publisher.confirms import Confirms
from bridge.publisher.message import Filled, Message


class UnsuitableError(Exception):
    """This carrier can't carry messages of this kind: kombu's way is left."""


class Form(Protocol):
    """How the messages of one target are made ready."""

    def fill(self, filled: Filled) -> Any:
        """What `carry` takes; ValueError and the like when this message can't be expressed."""


class Carrier(Protocol):
    """Carries messages over one connection, in order."""

    portion: int
    """Most messages in one `carry`."""

    def form(self, message: Message) -> Form | None:
        """The form of this target's messages; None: they can't be carried this way."""

    def carry(self, load: Sequence[tuple[int, Any]]) -> Mapping[int, str]:
        """Sends all of them, of whatever targets, each with its place in the batch; returns what the broker has refused
        already, and why. Errors are those of the transport."""


class QuickCarrier:
    """What carriers with a form of their own share: the form of each target's messages is made once."""

    def __init__(self, make: Callable[[Message], Form]) -> None:
        """`make` raises UnsuitableError."""
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
    """One `Producer.publish` a message; from kombu 5.7 on in batches where the transport knows them."""

    portion = 1000

    def __init__(self, producer: Any, extra: Mapping[str, Any], confirms: Confirms | None) -> None:
        """`extra` are options of each publish."""
        self._producer = producer
        self._extra = extra
        self._confirms = confirms

    def form(self, message: Message) -> Form:
        """See Carrier: it carries any."""
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
    """The options of `Producer.publish`."""

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
        """The options of one publish."""
        return {
            **self._options,
            "body": filled.body,
            "headers": {**self._headers, **filled.headers},
            "correlation_id": filled.task_id,
        }
