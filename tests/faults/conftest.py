"""A private Valkey that these tests may fill, lock and stop. For RabbitMQ there is `own_rabbitmq`."""

from collections.abc import Iterator

import pytest

from tools.servers import Valkey


@pytest.fixture
def own_valkey() -> Iterator[Valkey]:
    """Yields a Valkey that keeps the confirmed messages when it is stopped."""
    with Valkey(persistent=True) as server:
        yield server
