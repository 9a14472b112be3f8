"""Carrier: how filled messages get to the broker; this one goes by way of kombu, whatever the transport."""

from collections.abc import Callable, Sequence
from contextlib import nullcontext
from typing import Any, Generic, Protocol, TypeVar
from weakref import WeakKeyDictionary

from bridge.publisher.message import Filled, Message

T = TypeVar("T")


class UnsuitableError(Exception):
    """This carrier can't carry messages of this kind: kombu's way is left."""


class Carrier(Protocol):
    """Carries messages over one connection, in order."""

    portion: int
    """Most messages in one `carry`."""

    def accepts(self, message: Message) -> bool:
        """Whether it can carry the messages of this target."""

    def prepare(self, message: Message, filled: Filled) -> Any:
        """What `carry` takes; ValueError and the like when this message can't be expressed."""

    def carry(self, load: Sequence[Any]) -> None:
        """Sends all of them; errors are those of the transport."""


class QuickCarrier(Generic[T]):
    """What carriers with a form of their own share: the form of each target's messages is made once."""

    def __init__(self, form: Callable[[Message], T]) -> None:
        self._form = form
        self._forms: WeakKeyDictionary[Message, T | None] = WeakKeyDictionary()

    def accepts(self, message: Message) -> bool:
        """Those that have a form."""
        return self._form_of(message) is not None

    def form(self, message: Message) -> T:
        """The form of a message that is accepted."""
        form = self._form_of(message)
        if form is None:
            raise UnsuitableError
        return form

    def _form_of(self, message: Message) -> T | None:
        if message not in self._forms:
            try:
                self._forms[message] = self._form(message)
            except UnsuitableError:
                self._forms[message] = None
        return self._forms[message]


class PlainCarrier:
    """One `Producer.publish` a message; from kombu 5.7 on in batches where the transport knows them."""

    portion = 1000

    def __init__(self, producer: Any, extra: dict[str, Any] | None = None) -> None:
        """`extra` are options of each publish."""
        self._producer = producer
        self._extra = extra or {}

    def accepts(self, message: Message) -> bool:
        """Any."""
        return True

    def prepare(self, message: Message, filled: Filled) -> dict[str, Any]:
        """See Carrier."""
        return {
            "body": filled.body,
            "exchange": message.exchange,
            "routing_key": message.routing_key,
            "content_type": message.content_type,
            "content_encoding": message.content_encoding,
            "headers": {**message.headers, **filled.headers},
            "delivery_mode": message.delivery_mode,
            "priority": message.priority,
            "correlation_id": filled.task_id,
            **message.properties,
            **self._extra,
        }

    def carry(self, load: Sequence[dict[str, Any]]) -> None:
        """See Carrier."""
        with self._producer.batch(max_size=self.portion) if hasattr(self._producer, "batch") else nullcontext():
            for options in load:
                self._producer.publish(**options)
