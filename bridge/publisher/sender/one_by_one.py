"""One by one: sends messages that differ so much that each may be refused by itself, without harm to the others."""

from collections.abc import Callable, Sequence
from typing import NamedTuple, TypeVar

from bridge.errors import BrokerError
from bridge.publisher.answer import AnswerError, sentence
from bridge.publisher.confirms import Confirms
from bridge.publisher.outlet import Outlet
from bridge.publisher.receipt import Receipt
from bridge.publisher.sender.kombu import batch

T = TypeVar("T")

BATCH_SIZE = 1000
"""Messages that are sent in one round trip where the transport can do that."""


class OneByOne(NamedTuple):
    """Where messages are sent to, and how it is known that they have arrived."""

    outlet: Outlet
    confirms: Confirms | None

    def send(
        self,
        messages: Sequence[tuple[int, T]],
        receipt: Receipt,
        publish: Callable[[T], object],
        is_outage: Callable[[Exception], bool],
    ) -> None:
        """Publishes the messages. An error for which `is_outage` is true is raised; any other refuses its message."""
        with batch(self.outlet, BATCH_SIZE):
            for place, message in messages:
                if self.confirms:
                    self.confirms.sending = place
                self.outlet.failed = False
                try:
                    publish(message)
                except (MemoryError, BrokerError):
                    raise
                except AnswerError as error:
                    receipt.refused[place] = str(error)
                except Exception as error:
                    if is_outage(error):
                        raise
                    receipt.refused[place] = sentence(error)
        if self.confirms is None:
            receipt.arrived.update(place for place, _ in messages if place not in receipt.refused)
