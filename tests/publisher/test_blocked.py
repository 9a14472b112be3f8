"""RabbitMQ blocks publishers: each error that follows names this reason. tests/faults tests the whole bridge."""

import re
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime

from bridge.call import Target, Targets
from bridge.event import Event
from bridge.publisher import Publisher
from tests.alarm import memory_alarm
from tests.eventually import eventually
from tests.fix_broker import Broker
from tests.publisher.publishing import publish
from tools.servers import RabbitMQ


def reminders(broker: Broker, count: int, size: int) -> tuple[list[Event], Targets]:
    at = datetime(2026, 11, 24, 12, tzinfo=UTC)
    events = [Event(n, "w", "update", ["x" * size], None, None, at) for n in range(count)]
    return events, Targets({"w": Target("shop.remind", {"queue": broker.queue})})


def test_memory_alarm_is_named_where_not_even_writing_goes_on(own_rabbitmq: RabbitMQ) -> None:
    broker = Broker("private", own_rabbitmq.url)
    publisher = Publisher(broker.url)
    publisher._app.conf.broker_transport_options = {"write_timeout": 1}
    publisher.connect()
    with memory_alarm(own_rabbitmq):
        # More bytes than the sockets of both sides can buffer.
        receipt = publisher.publish(*reminders(broker, 40, 1_000_000))
    assert re.search(r"\(low on memory\).*timed out", str(receipt.outage))


def test_memory_alarm_that_ends_in_time_is_forgotten(own_rabbitmq: RabbitMQ) -> None:
    broker = Broker("private", own_rabbitmq.url)
    publisher = Publisher(broker.url)
    confirms = publisher._connected().confirms
    assert confirms is not None
    with ThreadPoolExecutor() as threads:
        with memory_alarm(own_rabbitmq):
            events, targets = reminders(broker, 3, 1)
            published = threads.submit(publish, publisher, events, targets)
            assert eventually(lambda: confirms._blocked == "low on memory")
        assert published.result() == []
    assert confirms.look() is None
    publisher.close()
