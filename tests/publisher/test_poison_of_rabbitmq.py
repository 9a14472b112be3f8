"""What RabbitMQ refuses becomes a refusal with a sentence, and the other events are sent."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from msgspec.structs import replace

from bridge.publisher import Publisher
from tests.fix_broker import Broker
from tests.publisher.messages import event
from tests.publisher.poison import LONG, batch, keys, refused
from tests.publisher.publishing import publish
from tools.servers import RabbitMQ


@pytest.mark.parametrize(
    ("poison", "reason"),
    [
        pytest.param({"queue": "amq.x"}, "reserved", id="a name that RabbitMQ keeps for itself"),
        pytest.param({"queue": LONG}, "too long", id="a queue with a long name"),
        pytest.param({"headers": {LONG: 1}}, "too long", id="a header with a long name"),
        pytest.param({"headers": {"n": 10**20}}, "too large", id="a number of more than 64 bits"),
        pytest.param({"headers": {"n": {"deep": [-(10**30)]}}}, "too large", id="one inside"),
        pytest.param({"priority": 1.5}, "required argument is not an integer", id="a priority that is none"),
        pytest.param({"countdown": 1e300}, "too large", id="a countdown without end"),
        pytest.param({"headers": {"n": "x" * 200_000}}, "a frame holds", id="more headers than a frame holds"),
    ],
)
def test_rabbitmq_what_the_protocol_cannot_say_or_the_broker_refuses(
    rabbitmq: Broker, way: str, poison: dict[str, Any], reason: str
) -> None:
    events, targets = batch(rabbitmq, **{"queue": rabbitmq.queue, **poison})
    assert [reason in text for text in refused(Publisher(rabbitmq.url), events, targets).values()] == [True]
    assert keys(rabbitmq, 4) == [1, 2, 4, 5]


def test_rabbitmq_a_message_that_is_larger_than_it_takes(own_rabbitmq: RabbitMQ, way: str) -> None:
    broker = Broker("private", own_rabbitmq.url)
    events, targets = batch(broker, queue=broker.queue)
    events[2] = replace(events[2], key=["x" * 200_000])
    with own_rabbitmq_takes(own_rabbitmq, 100_000):
        assert ["larger than" in text for text in refused(Publisher(broker.url), events, targets).values()] == [True]
    assert arrived(broker) == [1, 2, 4, 5]


def arrived(broker: Broker) -> list[Any]:
    """Returns each key once: RabbitMQ may keep two copies of messages in flight when it closes the channel."""
    taken = []
    with broker.connect() as connection:
        channel: Any = connection.default_channel
        while (raw := channel.basic_get(broker.queue, no_ack=True)) is not None:
            taken.append(channel.message_to_python(raw).decode()[0][0])
    return list(dict.fromkeys(taken))


@contextmanager
def own_rabbitmq_takes(server: RabbitMQ, size: int) -> Iterator[None]:
    """Limits messages to `size` bytes on channels that are opened meanwhile."""
    before = server.evaluate("{ok, S} = application:get_env(rabbit, max_message_size), S")
    server.evaluate(f"application:set_env(rabbit, max_message_size, {size})")
    try:
        yield
    finally:
        server.evaluate(f"application:set_env(rabbit, max_message_size, {before})")


def test_rabbitmq_many_of_them_one_behind_the_other(own_rabbitmq: RabbitMQ) -> None:
    broker = Broker("private", own_rabbitmq.url)
    _, targets = batch(broker, queue=broker.queue)
    events = [event([n if n % 3 else "x" * 200_000], n) for n in range(60)]
    with own_rabbitmq_takes(own_rabbitmq, 100_000):
        assert list(refused(Publisher(broker.url), events, targets)) == list(range(0, 60, 3))
    assert arrived(broker) == [n for n in range(60) if n % 3]


def test_rabbitmq_an_exchange_that_the_user_may_not_write_to(own_rabbitmq: RabbitMQ, way: str) -> None:
    broker = Broker("private", own_rabbitmq.url)
    own_rabbitmq.add_user(broker.queue, "secret", writes=f"^({broker.queue}|amq.default)$")
    events, targets = batch(broker, queue=broker.other_queue("forbidden"))
    url = own_rabbitmq.url.replace("guest:guest", f"{broker.queue}:secret")
    reasons = refused(Publisher(url), events, targets)
    assert ["ACCESS_REFUSED" in text for text in reasons.values()] == [True]
    assert arrived(broker) == [1, 2, 4, 5]


def test_rabbitmq_a_queue_that_others_have_made_otherwise(rabbitmq: Broker, way: str) -> None:
    other = rabbitmq.other_queue("other")
    events, targets = batch(rabbitmq, queue=other)
    with rabbitmq.connect() as connection:
        channel: Any = connection.default_channel
        channel.queue_declare(other, durable=True, auto_delete=False, arguments={"x-max-priority": 9})
        publisher = Publisher(rabbitmq.url)
        [refusal] = publish(publisher, events, targets)
        assert "PRECONDITION_FAILED" in refusal.reason
        # The queue is looked up again for each batch, because somebody may have repaired it.
        channel.queue_delete(other)
        assert publish(publisher, [refusal.event], targets) == []
        publisher.close()
    assert keys(rabbitmq, 4) == [1, 2, 4, 5]


def test_rabbitmq_a_queue_and_an_exchange_that_are_gone_are_made_again(rabbitmq: Broker, way: str) -> None:
    events, targets = batch(rabbitmq, queue=rabbitmq.queue)
    for gone in ("queue_delete", "exchange_delete"):
        publisher = Publisher(rabbitmq.url)
        assert publish(publisher, events, targets) == []
        keys(rabbitmq, 5)
        with rabbitmq.connect() as connection:
            getattr(connection.default_channel, gone)(rabbitmq.queue)
        assert publish(publisher, events, targets) == []
        publisher.close()
        assert keys(rabbitmq, 5) == [1, 2, 3, 4, 5]


@pytest.mark.parametrize("timeout", [None, 0])
def test_rabbitmq_an_app_that_wants_no_timeout(rabbitmq: Broker, timeout: int | None) -> None:
    events, targets = batch(rabbitmq, queue=rabbitmq.queue)
    publisher = Publisher(rabbitmq.url)
    publisher._app.conf.broker_transport_options = {"read_timeout": timeout}
    assert refused(publisher, events, targets) == {}
    assert keys(rabbitmq, 5) == [1, 2, 3, 4, 5]
