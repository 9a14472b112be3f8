"""Brokers: the embedded Valkey, and the machine's own Redis and RabbitMQ.

A URL is all that a program under test needs: on Redis and Valkey each test has a database of its own, on
RabbitMQ the queue's name is the test's own. Mind that Celery's remote control is shared by all who use one
RabbitMQ vhost: name the worker you address. Tests that change a RabbitMQ, or need one that is empty, have a
private one.
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
from embedded import RabbitMQ, Valkey

from tests.absence import absent

MACHINE_REDIS = "redis://127.0.0.1:6379"
MACHINE_RABBITMQ = "amqp://guest:guest@127.0.0.1:5672//"

# Takes the database when it is empty, or left behind by a test run: marked as ours, with its lease over.
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
    """A broker for one test; `queue` is its own, and so is every one that `other_queue` names."""

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
        """The caller closes it."""
        return kombu.Connection(self.url, transport_options=self.transport_options)


@pytest.fixture(scope="session")
def embedded_valkey() -> Iterator[Valkey]:
    """Shared by all tests of this process: one that stops its server makes its own."""
    with Valkey() as server:
        yield server


@pytest.fixture
def valkey_url(embedded_valkey: Valkey) -> Iterator[str]:
    """Empty at first."""
    yield embedded_valkey.url()
    with redis.Redis(unix_socket_path=str(embedded_valkey.socket)) as client:
        client.flushall()


@contextmanager
def leased_redis() -> Iterator[str]:
    """An empty database of the machine's Redis, for the caller alone."""
    server = os.environ.get("BRIDGE_TEST_REDIS_URL", MACHINE_REDIS).rstrip("/")
    # Database 0 is where people keep their things, so the search ends before it.
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
    """The machine's RabbitMQ; the vhost is shared, so queues have names of their own, and go at the end."""
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
                channel.exchange_delete(name)  # Celery declares one of the queue's name


@pytest.fixture(scope="session")
def own_rabbitmq() -> Iterator[RabbitMQ]:
    """Shared by the tests of this process, as it takes seconds to start: each leaves it as it found it."""
    if not RabbitMQ.available():
        absent("RabbitMQ", "its package is not installed")
    with RabbitMQ() as server:
        yield server


@pytest.fixture
def empty_rabbitmq(own_rabbitmq: RabbitMQ) -> Iterator[Broker]:
    """A vhost that nobody has declared anything in."""
    name = f"empty-{secrets.token_hex(6)}"
    own_rabbitmq.add_vhost(name)
    try:
        yield Broker("rabbitmq", own_rabbitmq.url.removesuffix("/") + name)
    finally:
        own_rabbitmq.delete_vhost(name)


@pytest.fixture
def redis_url() -> Iterator[str]:
    """An empty database of the machine's Redis, for this test alone."""
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
