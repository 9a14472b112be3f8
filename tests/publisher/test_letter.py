"""A message that Celery has made where it was sent: one that can't be published is refused, and stops no other."""

import json
from datetime import UTC, datetime
from typing import Any

import pytest

from bridge.call import Target, Targets
from bridge.event import Event
from bridge.publisher import Publisher
from tests.celery_queue import inbox
from tests.fix_broker import Broker
from tests.publisher.messages import take_all
from tests.publisher.publishing import publish

AT = datetime(2026, 11, 24, tzinfo=UTC)
TARGETS = Targets({"w": Target("shop.touch", {})}, frozenset({"shop.mail"}))
LONG = "n" * 300

POISON: dict[str, dict[str, Any]] = {
    "an exchange that does not exist": {"queue": None, "exchange": "bridge-test-nowhere"},
    "no queue at all": {"queue": None, "routing_key": ""},
    "a long exchange": {"queue": None, "exchange": LONG},
    "a long routing key": {"queue": None, "routing_key": LONG},
    "a long queue": {"queue": LONG},
    "a compression that does not exist": {"compression": "lzw"},
    "a header with a long name": {"headers": json.dumps({LONG: 1})},
    "a header with a large number": {"headers": json.dumps({"a": 2**70})},
    "large headers": {"headers": json.dumps({"a": "x" * 200_000})},
}
# Redis has no limits of these kinds.
FINE_IN_REDIS = {
    "a long routing key",
    "a long queue",
    "a header with a long name",
    "a header with a large number",
    "large headers",
}


def sent(broker: Broker, number: int, **message: Any) -> Event:
    protocol = {"id": f"task-{number}", "queue": broker.queue, "routing_key": broker.queue, **message}
    data = {"task": "shop.mail", "args": f"[{number}]", "kwargs": "{}", "message": protocol}
    return Event(number, "", "send", None, data, None, AT)


@pytest.mark.parametrize("poison", POISON)
def test_poison_is_refused_and_the_others_arrive_in_order(broker: Broker, poison: str) -> None:
    if broker.id != "rabbitmq" and poison in FINE_IN_REDIS:
        pytest.skip("Redis takes it")
    publisher = Publisher(broker.url)
    events = [sent(broker, number) for number in range(1, 6)]
    events[2] = sent(broker, 3, **POISON[poison])
    refusals = publish(publisher, events, TARGETS)
    publisher.close()
    assert [refusal.event.id for refusal in refusals] == [3]
    assert "\n" not in refusals[0].reason
    with inbox(broker) as tasks:
        arrived = [task.args[0] for task in tasks.take_all()]
    # RabbitMQ closes the channel for some of them, and what was sent together with them is sent again.
    assert list(dict.fromkeys(arrived)) == [1, 2, 4, 5]


def test_messages_and_watches_keep_their_order(broker: Broker) -> None:
    publisher = Publisher(broker.url)
    watched = Targets({"w": Target("shop.touch", {"queue": broker.queue})}, TARGETS.sendable)
    events = [
        sent(broker, number) if number % 3 else Event(number, "w", "update", [number], None, None, AT)
        for number in range(30)
    ]
    assert publish(publisher, events, watched) == []
    publisher.close()
    assert [part["body"][0][0] for part in take_all(broker, broker.queue, 30)] == list(range(30))


def test_two_messages_with_one_id_both_arrive(broker: Broker) -> None:
    publisher = Publisher(broker.url)
    assert publish(publisher, [sent(broker, 1, id="same"), sent(broker, 2, id="same")], TARGETS) == []
    publisher.close()
    assert [part["body"][0][0] for part in take_all(broker, broker.queue, 2)] == [1, 2]
