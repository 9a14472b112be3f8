"""Publisher: publishes a batch; reports what the broker did not confirm and what can't be published at all."""

from collections.abc import Sequence
from contextlib import suppress

from celery import Celery

from bridge.call import Targets
from bridge.errors import BrokerError, ConfigError
from bridge.event import Event
from bridge.publisher.answer import AnswerError, sentence
from bridge.publisher.app import load
from bridge.publisher.broker import shown_address
from bridge.publisher.connection import Connection
from bridge.publisher.dispatch import Dispatch
from bridge.publisher.receipt import Receipt
from bridge.secret import note

# The number of messages that are sent one by one to find the message that the broker refuses.
_ALONE = 50


class Publisher:
    """Publishes the calls that events ask for, and waits until the broker has all of them.

    If the user's Celery app is given, its task options, routes, queues, serializer and signals apply. Otherwise an
    empty app with Celery's defaults is used.
    """

    def __init__(self, broker_url: str | None = None, app_path: str | None = None) -> None:
        note(broker_url)
        self._app = load(app_path) if app_path else Celery("bridge", set_as_current=False)
        if broker_url:
            self._app.conf.update(broker_url=broker_url, broker_write_url=broker_url)
        elif not app_path:
            raise ConfigError("no broker: give --broker-url (BRIDGE_BROKER_URL) or --app (BRIDGE_CELERY_APP)")
        self._connection: Connection | None = None
        self.address: str = shown_address(self._app)

    def publish(self, events: Sequence[Event], targets: Targets) -> Receipt:
        """Publishes the calls that the events ask for, in order.

        If the receipt has an outage, publish the missing events again: their task ids stay the same.
        """
        receipt = Receipt()
        try:
            self._publish(events, targets, receipt)
        except BrokerError as error:
            confirms = self._connection.confirms if self._connection else None
            blocked = confirms.look() if confirms else None
            receipt.outage = f"RabbitMQ blocks publishers ({blocked}): {error}" if blocked else str(error)
            # The connection is closed even if it seems alive: confirms of this try must not count for the next one.
            self.close()
        receipt.arrived -= receipt.refused.keys()
        return receipt

    def prepare(self) -> None:
        """Does what needs no connection. A standby does it, so that a takeover does not wait for it."""
        with suppress(Exception):  # the app's own code runs here; `connect` reports its errors
            self._app.finalize()

    def connect(self) -> None:
        """Connects, so that the first `publish` need not; raises BrokerError if the broker is away."""
        self._connected()

    def close(self) -> None:
        """Drops the connection. The next `publish` makes a new one."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()

    def _publish(self, events: Sequence[Event], targets: Targets, receipt: Receipt) -> None:
        """Publishes all events at once. If the broker refuses one, publishes them one by one until that one is found.

        RabbitMQ then closes the channel and takes none of the messages after the refused one. A message that was
        refused because its queue is gone is tried once more, since a new connection declares all queues again.
        Messages are sent one by one until the refused one is found or 50 of them have gone through, because messages
        that are sent together with the refused one may arrive twice. After that the size doubles.
        """
        waiting = list(enumerate(events))
        size, cautious, alone = len(waiting), False, 0
        self._connected().begin()
        while waiting:
            part = waiting[:size]
            try:
                Dispatch(self._connected(), targets, receipt).send(part)
            except AnswerError as error:
                self.close()
                if cautious and size == 1:
                    receipt.refused[part[0][0]] = str(error)
                    alone = 0
                else:
                    alone = _ALONE
                size, cautious = 1, True
            else:
                receipt.arrived.update(place for place, _ in part)
                alone -= 1
                size = size if alone > 0 else size * 2
            done = receipt.arrived | receipt.refused.keys()
            waiting = [placed for placed in waiting if placed[0] not in done]

    def _connected(self) -> Connection:
        if self._connection is None:
            try:
                self._connection = Connection(self._app)
            except MemoryError:
                raise
            except Exception as error:
                raise BrokerError(sentence(error)) from error
        return self._connection
