"""Reads Celery's messages from one queue as a worker would, without a worker."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import kombu

from tests.fix_broker import Broker


@dataclass(frozen=True)
class Task:
    """One message of Celery's protocol 2."""

    id: str
    name: str
    args: list[Any]
    kwargs: dict[str, Any]
    headers: dict[str, Any]
    priority: int | None

    @property
    def bridge(self) -> dict[str, Any]:
        header: dict[str, Any] = self.headers["bridge"]
        return header


class Inbox:
    def __init__(self, connection: kombu.Connection, queue: str) -> None:
        self._connection = connection
        self._queue = kombu.Queue(queue, kombu.Exchange(queue, "direct"), queue)(connection.default_channel)
        self._queue.declare()
        self._tasks: list[Task] = []

    def waiting(self) -> int:
        """Returns the number of messages that the broker has for this queue."""
        # A passive declaration would fail for a queue of Redis that is empty at this moment.
        declared: Any = self._queue.queue_declare()
        count: int = declared.message_count
        return count

    def take(self, count: int, seconds: float = 20) -> list[Task]:
        """Takes the next `count` messages, in order. Fails if they don't arrive in time."""
        deadline = time.monotonic() + seconds
        # Messages that a consumer got beyond `count` stay for the next call.
        with self._connection.Consumer(self._queue, on_message=self._receive, no_ack=True):
            while len(self._tasks) < count:
                remaining = deadline - time.monotonic()
                assert remaining > 0, f"{len(self._tasks)} of {count} tasks came within {seconds:g} s: {self._tasks}"
                try:
                    self._connection.drain_events(timeout=remaining)
                except TimeoutError:
                    continue
        taken, self._tasks = self._tasks[:count], self._tasks[count:]
        return taken

    def take_all(self) -> list[Task]:
        """Takes the messages that are in the queue now."""
        return self.take(len(self._tasks) + self.waiting(), 120)

    def _receive(self, message: Any) -> None:
        args, kwargs, _ = message.decode()
        headers = message.headers
        priority = message.properties.get("priority")
        self._tasks.append(Task(headers["id"], headers["task"], args, kwargs, headers, priority))


@contextmanager
def inbox(broker: Broker, queue: str | None = None) -> Iterator[Inbox]:
    """Opens the broker's own queue for this test, unless another queue is named."""
    with broker.connect() as connection:
        yield Inbox(connection, queue or broker.queue)
