"""Brokers: the embedded Valkey, and the machine's own Redis and RabbitMQ.

A program under test needs only a URL. On Redis and Valkey each test has its own database; on RabbitMQ each test has
its own name of a queue. All clients of one RabbitMQ vhost share Celery's remote control, so name the worker that you
address. Tests that configure a RabbitMQ, or need an empty one, have a private one.
"""

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import kombu
import pytest
import redis

from tests.absence import absent
from tools.servers import RabbitMQ, Valkey

MACHINE_REDIS = "redis://127.0.0.1:6379"
MACHINE_RABBITMQ = "amqp://guest:guest@127.0.0.1:5672//"

# Takes the database if it is empty, or if a test run left it behind: then it is marked as ours, and its lease has
# expired.
_TAKE = """
if redis.call('dbsize') > 0 then
    if redis.call('exists', 'bridge-test:ours') == 0 then return 0 end
    if redis.call('exists', 'bridge-test:lease') == 1 then return 0 end
    redis.call('flushdb')
end
redis.call('set', 'bridge-test:ours', '1')
redis.call('set', 'bridge-test:lease', '1', 'ex', 3600)
return 1
"""


@dataclass(frozen=True)
class Broker:
    """A broker for one test. It owns `queue` and every queue that `other_queue` names."""

    id: str
    url: str
    queue: str = field(default_factory=lambda: f"bridge-test-{secrets.token_hex(6)}")
    transport_options: dict[str, Any] = field(default_factory=dict)
    _others: list[str] = field(default_factory=list)

    @property
    def queues(self) -> list[str]:
        return [self.queue, *self._others]

    def other_queue(self, name: str) -> str:
        self._others.append(f"{self.queue}-{name}")
        return self._others[-1]

    def connect(self) -> kombu.Connection:
        """Opens a connection. The caller closes it."""
        return kombu.Connection(self.url, transport_options=self.transport_options)


@pytest.fixture(scope="session")
def embedded_valkey() -> Iterator[Valkey]:
    """Starts a Valkey for all tests of this process. A test that stops its server makes its own."""
    with Valkey() as server:
        yield server


@pytest.fixture
def valkey_url(embedded_valkey: Valkey) -> Iterator[str]:
    """Yields the URL of a database that is empty at first."""
    yield embedded_valkey.url()
    with redis.Redis(unix_socket_path=str(embedded_valkey.socket)) as client:
        client.flushall()


@contextmanager
def leased_redis() -> Iterator[str]:
    """Yields an empty database of the machine's Redis for the caller alone."""
    server = os.environ.get("BRIDGE_TEST_REDIS_URL", MACHINE_REDIS).rstrip("/")
    # People keep their data in database 0, so the search ends before it.
    for number in range(15, 0, -1):
        url = f"{server}/{number}"
        with redis.Redis.from_url(url, socket_connect_timeout=5) as client:
            try:
                taken = client.eval(_TAKE, 0) == 1
            except redis.RedisError as error:
                absent("Redis of the machine (BRIDGE_TEST_REDIS_URL)", str(error))
            if taken:
                try:
                    yield url
                finally:
                    client.flushdb()
                return
    absent("Redis of the machine (BRIDGE_TEST_REDIS_URL)", "none of its databases 1 to 15 is empty")


@contextmanager
def swept_rabbitmq() -> Iterator[Broker]:
    """Yields the machine's RabbitMQ. The vhost is shared, so queues have unique names and are deleted at the end."""
    url = os.environ.get("BRIDGE_TEST_RABBITMQ_URL", MACHINE_RABBITMQ)
    with kombu.Connection(url, connect_timeout=5) as connection:
        try:
            connection.connect()
        except OSError as error:
            absent("RabbitMQ of the machine (BRIDGE_TEST_RABBITMQ_URL)", str(error))
    broker = Broker("rabbitmq", url)
    try:
        yield broker
    finally:
        with broker.connect() as connection:
            channel: Any = connection.default_channel
            for name in broker.queues:
                channel.queue_delete(name)
                channel.exchange_delete(name)  # Celery declares an exchange with the name of the queue


@pytest.fixture(scope="session")
def own_rabbitmq() -> Iterator[RabbitMQ]:
    """Starts a RabbitMQ for the tests of this process, because a start takes seconds. Each test restores its state."""
    if not RabbitMQ.available():
        absent("RabbitMQ", "its package is not installed")
    with RabbitMQ() as server:
        yield server


@pytest.fixture
def empty_rabbitmq(own_rabbitmq: RabbitMQ) -> Iterator[Broker]:
    """Yields a vhost without any declared object."""
    name = f"empty-{secrets.token_hex(6)}"
    own_rabbitmq.add_vhost(name)
    try:
        yield Broker("rabbitmq", own_rabbitmq.url.removesuffix("/") + name)
    finally:
        own_rabbitmq.delete_vhost(name)


@pytest.fixture
def redis_url() -> Iterator[str]:
    """Yields an empty database of the machine's Redis for this test alone."""
    with leased_redis() as url:
        yield url


@pytest.fixture
def valkey(valkey_url: str) -> Broker:
    return Broker("valkey", valkey_url)


@pytest.fixture
def redis_broker(redis_url: str) -> Broker:
    return Broker("redis", redis_url)


@pytest.fixture
def rabbitmq() -> Iterator[Broker]:
    with swept_rabbitmq() as broker:
        yield broker


@pytest.fixture
def rabbitmq_url(rabbitmq: Broker) -> str:
    return rabbitmq.url


@pytest.fixture(params=["valkey", "redis", "rabbitmq"])
def broker(request: pytest.FixtureRequest) -> Broker:
    name = {"redis": "redis_broker"}.get(request.param, request.param)
    broker: Broker = request.getfixturevalue(name)
    return broker
