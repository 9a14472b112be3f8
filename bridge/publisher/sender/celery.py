"""Celery: sends each call by Celery's own `send_task`, for calls that differ in more than a template knows."""

from collections.abc import Mapping, Sequence
from typing import Any

import kombu
from celery import Celery

from bridge.call import Call
from bridge.publisher import task
from bridge.publisher.answer import is_of_transport
from bridge.publisher.confirms import Confirms
from bridge.publisher.delayed import DelayedRouter
from bridge.publisher.outlet import Outlet
from bridge.publisher.receipt import Receipt
from bridge.publisher.sender.one_by_one import BATCH_SIZE, OneByOne
from bridge.publisher.template import Template


class CelerySender:
    """Calls `send_task` for each call. Signals, routers and the app's own `send_task` work as in the user's code."""

    batch_size = BATCH_SIZE

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
        self._way = OneByOne(outlet, confirms)
        self._extra = extra
        self._delayed = delayed

    def encoder(self, template: Template | None) -> "CelerySender":
        """See Sender. This sender can send every call."""
        return self

    def encode(self, call: Call) -> Call:
        """See Encoder. Celery makes the message when it sends it."""
        return call

    def send(self, messages: Sequence[tuple[int, Call]], receipt: Receipt) -> None:
        """See Sender. It also raises errors of earlier messages."""
        self._way.send(messages, receipt, self._publish, self._is_outage)

    def _publish(self, call: Call) -> None:
        self._delayed.failed = False
        router = self._delayed if call.target.options.get("countdown") else None
        task.send(self._app, call, self._way.outlet, self._extra, router)

    def _is_outage(self, error: Exception) -> bool:
        # A router, a serializer or a task's options may raise errors that look like the transport's.
        return self._way.outlet.failed or (self._delayed.failed and is_of_transport(error, self._connection))
