"""Dispatch: sends events over one connection, each by the quickest sender that can carry it."""

from collections.abc import Iterable
from typing import Any

from bridge.call import Call, Refusal, Target, Targets, call_for
from bridge.event import Event
from bridge.publisher.answer import AnswerError
from bridge.publisher.connection import Connection
from bridge.publisher.receipt import Receipt
from bridge.publisher.sender.base import Encoder, Sender
from bridge.reason import reason

_NOBODY = Target("", {})


class Dispatch:
    """Pushes events to senders. The broker works on the first messages while the next ones are made."""

    def __init__(self, connection: Connection, targets: Targets, receipt: Receipt) -> None:
        self._connection = connection
        self._targets = targets
        self._receipt = receipt
        # The sender and the encoder of the last call's target, or the reason why there is none.
        self._target = _NOBODY
        self._route: tuple[Sender, Encoder] | str = ""
        # The sender of the messages that wait.
        self._sender: Sender | None = None
        self._messages: list[tuple[int, Any]] = []

    def send(self, events: Iterable[tuple[int, Event]]) -> None:
        """Sends all events, in order, and waits until the broker has them; each comes with its place in the batch.

        Raises BrokerError or AnswerError. The receipt then has the events that have arrived nevertheless.
        """
        with self._connection.confirming(self._receipt):
            for place, event in events:
                self._push(place, event)
            self._flush()

    def _push(self, place: int, event: Event) -> None:
        """Makes the call of an event, and its message. An error that concerns this event only refuses it."""
        refused = self._receipt.refused
        try:
            call = call_for(event, self._targets)
        except MemoryError:
            raise
        except Exception as error:
            refused[place] = reason(error)
            return
        if isinstance(call, Refusal):
            refused[place] = call.reason
            return
        route = self._route_of(call)
        if isinstance(route, str):
            refused[place] = route
            return
        sender, encoder = route
        if sender is not self._sender:
            self._flush()
            self._sender = sender
        try:
            self._messages.append((place, encoder.encode(call)))
        except MemoryError:
            raise
        except Exception as error:
            refused[place] = reason(error)
            return
        if len(self._messages) >= sender.batch_size:
            self._flush()

    def _route_of(self, call: Call) -> tuple[Sender, Encoder] | str:
        """Returns the sender and the encoder of a call, or the reason why there is none."""
        try:
            if call.message is not None:
                return self._connection.route_message(call.message)
            if call.target is not self._target and call.target != self._target:
                self._target = call.target
                self._route = self._connection.route(call.target)
        except AnswerError as error:
            if call.message is not None:
                return str(error)
            self._route = str(error)
        return self._route

    def _flush(self) -> None:
        messages, self._messages = self._messages, []
        if messages and self._sender is not None:
            self._sender.send(messages, self._receipt)
