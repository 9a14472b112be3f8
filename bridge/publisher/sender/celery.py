"""Celery: sends each call by Celery's own `send_task`, for calls that differ in more than a template knows."""

from collections.abc import Mapping, Sequence
from typing import Any

import kombu
from celery import Celery

from bridge.call import Call
from bridge.errors import BrokerError
from bridge.publisher import task
from bridge.publisher.answer import AnswerError, is_of_transport, sentence
from bridge.publisher.confirms import Confirms
from bridge.publisher.delayed import DelayedRouter
from bridge.publisher.outlet import Outlet
from bridge.publisher.receipt import Receipt
from bridge.publisher.sender.kombu import batch
from bridge.publisher.template import Template


class CelerySender:
    """Calls `send_task` for each call. Signals, routers and the app's own `send_task` work as in the user's code."""

    batch_size = 1000

    def __init__(
        self,
        app: Celery,
        connection: kombu.Connection,
        outlet: Outlet,
        extra: Mapping[str, Any],
        confirms: Confirms | None,
        delayed: DelayedRouter,
    ) -> None:
        """`extra` are the options of each publish."""
        self._app = app
        self._connection = connection
        self._outlet = outlet
        self._extra = extra
        self._confirms = confirms
        self._delayed = delayed

    def encoder(self, template: Template | None) -> "CelerySender":
        """See Sender. This sender can send every call."""
        return self

    def encode(self, call: Call) -> Call:
        """See Encoder. Celery makes the message when it sends it."""
        return call

    def send(self, messages: Sequence[tuple[int, Call]], receipt: Receipt) -> None:
        """See Sender."""
        with batch(self._outlet, self.batch_size):
            sent = [place for place, call in messages if self._sent(place, call, receipt)]
        if self._confirms is None:
            receipt.arrived.update(sent)

    def _sent(self, place: int, call: Call, receipt: Receipt) -> bool:
        """Sends a call; returns whether it was sent.

        Raises errors of the transport and of earlier messages; other errors are added to the receipt.
        """
        if self._confirms:
            self._confirms.sending = place
        self._outlet.failed = self._delayed.failed = False
        router = self._delayed if call.target.options.get("countdown") else None
        try:
            task.send(self._app, call, self._outlet, self._extra, router)
        except (MemoryError, BrokerError):
            raise
        except AnswerError as error:
            receipt.refused[place] = str(error)
        except Exception as error:
            # A router, a serializer or a task's options may raise errors that look like the transport's.
            if self._outlet.failed or (self._delayed.failed and is_of_transport(error, self._connection)):
                raise
            receipt.refused[place] = sentence(error)
        return place not in receipt.refused
