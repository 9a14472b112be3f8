"""Private brokers, which these tests may fill, lock and stop."""

from collections.abc import Iterator

import pytest
from embedded import RabbitMQ, Valkey

from tests.absence import absent


@pytest.fixture(scope="session")
def own_rabbitmq() -> Iterator[RabbitMQ]:
    """Shared by the tests of this process, as it takes seconds to start: each leaves it as it found it."""
    if not RabbitMQ.available():
        absent("RabbitMQ", "its package is not installed")
    with RabbitMQ() as server:
        yield server


@pytest.fixture
def own_valkey() -> Iterator[Valkey]:
    """Keeps what it has confirmed when it is stopped."""
    with Valkey(persistent=True) as server:
        yield server
