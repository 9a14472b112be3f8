"""Sender: publishes messages over one connection, in order."""

from collections.abc import Callable, Sequence
from typing import Any, Protocol
from weakref import WeakKeyDictionary

from bridge.call import Call
from bridge.publisher.receipt import Receipt
from bridge.publisher.template import Template


class UnsuitableError(Exception):
    """This sender can't express such messages, so another one has to."""


class Encoder(Protocol):
    """Makes the messages of one target for one sender."""

    def encode(self, call: Call) -> Any:
        """Returns the message as `send` takes it. Any error except MemoryError concerns this call only."""


class Sender(Protocol):
    """Publishes the messages of a batch. Each message comes with the place of its event in the batch."""

    batch_size: int
    """The most messages in one `send`."""

    def encoder(self, template: Template | None) -> Encoder | None:
        """Returns the encoder for a target, or None if this sender can't carry its messages.

        Without a template, Celery has to make each message of the target.
        """

    def send(self, messages: Sequence[tuple[int, Any]], receipt: Receipt) -> None:
        """Publishes the messages, which may have different targets. Raises the transport's errors.

        Adds the messages that the broker refuses at once to the receipt, and, if the transport has no confirms, those
        that have arrived.
        """


class QuickSender:
    """The base of the quick senders: it makes the encoder of each target once."""

    def __init__(self, make: Callable[[Template], Encoder]) -> None:
        """`make` makes an encoder, or raises UnsuitableError."""
        self._make = make
        self._encoders: WeakKeyDictionary[Template, Encoder | None] = WeakKeyDictionary()

    def encoder(self, template: Template | None) -> Encoder | None:
        """See Sender."""
        if template is None:
            return None
        if template not in self._encoders:
            try:
                self._encoders[template] = self._make(template)
            except UnsuitableError:
                self._encoders[template] = None
        return self._encoders[template]
