"""Broker: a private RabbitMQ or Valkey, its one queue, and a consumer."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Event
from typing import Any

import kombu
from celery import Celery

from benchmarks.background import Background
from tools.servers import RabbitMQ, Valkey

QUEUE = "bench"
BROKERS = ("rabbitmq", "valkey")


class Broker:
    """A broker that messages are sent to. `server` is None if the benchmark did not start it."""

    def __init__(self, name: str, url: str, server: RabbitMQ | Valkey | None = None) -> None:
        self.name = name
        self.url = url
        self.server = server

    def purge(self, queue: str = QUEUE) -> None:
        """Declares the queue as Celery does, and empties it."""
        if self.url == "memory://":
            return
        with kombu.Connection(self.url) as connection:
            bound = celery_queue(queue)(connection.default_channel)
            bound.declare()
            bound.purge()

    def delete(self, queue: str = QUEUE) -> None:
        """Deletes the queue and its exchange on a broker that is not ours."""
        with kombu.Connection(self.url) as connection:
            channel: Any = connection.default_channel
            channel.queue_delete(queue)
            channel.exchange_delete(queue)

    def waiting(self, queue: str = QUEUE) -> int:
        """Returns the number of messages in the queue."""
        with kombu.Connection(self.url) as connection:
            channel: Any = connection.default_channel
            found: int = channel.queue_declare(queue=queue, passive=True).message_count
            return found


class Arrivals(Background):
    """A consumer that takes every message. `times` has its arrival (time.time()) by the task's first argument."""

    def __init__(self, broker: Broker, queue: str = QUEUE) -> None:
        super().__init__("arrivals")
        self.times: dict[int, float] = {}
        self.repeated = 0
        self._broker = broker
        self._queue = queue
        self._ready = Event()

    def run(self) -> None:
        with kombu.Connection(self._broker.url) as connection:
            consumer = kombu.Consumer(connection.default_channel, celery_queue(self._queue), no_ack=True)
            consumer.register_callback(self._take)
            consumer.consume()
            self._ready.set()
            while not self._done.is_set():
                try:
                    connection.drain_events(timeout=0.5)
                except TimeoutError:
                    continue

    def wait_for(self, number: int, seconds: float = 60.0) -> float:
        """Waits for the message with this number; returns its arrival. Raises SystemExit if it does not come."""
        deadline = time.monotonic() + seconds
        while number not in self.times:
            if time.monotonic() > deadline:
                raise SystemExit(f"event {number} is not delivered after {seconds:g} s")
            time.sleep(0.005)  # the thread records the times, so the moment of this look does not matter
        return self.times[number]

    def _take(self, body: list[list[int]], message: kombu.Message) -> None:
        now = time.time()
        number = body[0][0]
        if number in self.times:
            self.repeated += 1
        else:
            self.times[number] = now

    def start(self) -> None:
        """Starts the thread and waits until it consumes."""
        super().start()
        self._ready.wait(30)


def celery_queue(name: str) -> kombu.Queue:
    """Returns a queue as Celery declares one that it does not know. RabbitMQ refuses other properties."""
    return kombu.Queue(name, kombu.Exchange(name, type="direct"), routing_key=name)


def loop(broker: Broker, messages: int, *, confirmed: bool) -> float:
    """Returns the seconds for a loop of Celery's send_task with one producer, with every message confirmed or none."""
    app = Celery(broker=broker.url, set_as_current=False)
    if confirmed:
        app.conf.broker_transport_options = {"confirm_publish": True}
    with app.producer_pool.acquire(block=True) as producer:
        app.send_task("bench.touch", [0], queue=QUEUE, producer=producer)  # connects and declares
        started = time.perf_counter()
        for number in range(messages):
            app.send_task("bench.touch", [number], queue=QUEUE, producer=producer)
        seconds = time.perf_counter() - started
    app.close()
    broker.purge()
    return seconds


@contextmanager
def running(name: str) -> Iterator[Broker]:
    """Starts the broker with this name. `memory` is kombu's queue inside the bridge process, without any broker.

    A URL is that of a RabbitMQ that already runs and stores on disk. Private brokers store in memory.
    """
    if name == "memory":
        yield Broker(name, "memory://")
    elif name.startswith("amqp://"):
        running_one = Broker("rabbitmq", name)
        yield running_one
        running_one.delete()
    elif name == "rabbitmq":
        with RabbitMQ() as rabbitmq:
            yield Broker(name, rabbitmq.url, rabbitmq)
    else:
        with Valkey() as valkey:
            yield Broker(name, valkey.url(), valkey)
