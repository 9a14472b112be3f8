"""A private broker that these tests may fill, lock and stop; RabbitMQ's is `own_rabbitmq`."""

from collections.abc import Iterator

import pytest
from embedded import Valkey


@pytest.fixture
def own_valkey() -> Iterator[Valkey]:
    """Keeps what it has confirmed when it is stopped."""
    with Valkey(persistent=True) as server:
        yield server
