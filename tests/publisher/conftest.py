"""What the tests of the publisher share: a private Valkey that they may configure (for RabbitMQ there is
`own_rabbitmq`), and the two ways to send."""

from collections.abc import Iterator
from typing import Any

import pytest
from celery import signals

from tools.servers import Valkey


@pytest.fixture
def own_valkey() -> Iterator[Valkey]:
    with Valkey() as server:
        yield server


@pytest.fixture(params=["quick", "by Celery"])
def way(request: pytest.FixtureRequest) -> Iterator[str]:
    """Chooses how messages are sent. A receiver of Celery's signals makes Celery send each message."""

    def hear(**_: Any) -> None:
        pass

    if request.param == "by Celery":
        signals.before_task_publish.connect(hear)
    yield request.param
    signals.before_task_publish.disconnect(hear)
