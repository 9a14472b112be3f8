"""A private Valkey that these tests may configure. For RabbitMQ there is `own_rabbitmq`."""

from collections.abc import Iterator

import pytest

from tools.servers import Valkey


@pytest.fixture
def own_valkey() -> Iterator[Valkey]:
    with Valkey() as server:
        yield server
