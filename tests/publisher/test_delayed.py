"""A countdown on quorum queues: RabbitMQ itself keeps the message, even where no worker has ever connected."""

import re
from datetime import UTC, datetime, timedelta
from typing import Any

import kombu
import pytest

from bridge.call import Targets
from bridge.event import Event
from bridge.publisher import Publisher
from tests.eventually import eventually
from tests.fix_broker import Broker
from tests.publisher.messages import calls, events, send_as_celery, take_all, targets
from tests.publisher.publishing import publish
from tools.servers import RabbitMQ

# 90 seconds are 64 and 26 more, so the first queue that keeps such a message is the one for 2**6.
KEEPS_90_SECONDS = "celery_delayed_6"


def publisher_for(broker: Broker, exchange_type: str = "topic") -> Publisher:
    exchange = kombu.Exchange(broker.queue, type=exchange_type)
    queue = kombu.Queue(broker.queue, exchange, "shop.reprice", queue_arguments={"x-queue-type": "quorum"})
    publisher = Publisher(broker.url)
    # Quorum queues are slow: a message that Celery has sent is in the queue only when it is confirmed.
    publisher._app.conf.update(
        task_queues=[queue],
        task_default_queue=broker.queue,
        broker_transport_options={"confirm_publish": True},
    )
    return publisher


@pytest.mark.parametrize("exchange_type", ["topic", "fanout", "direct"])
@pytest.mark.parametrize("options", [{}, {"priority": 3}, {"expires": 600}, {"headers": {"tenant": "a"}}])
def test_it_is_as_celery_sends_it(own_rabbitmq: RabbitMQ, exchange_type: str, options: dict[str, Any]) -> None:
    broker = Broker("rabbitmq", own_rabbitmq.url)
    # A direct exchange can't delay messages, so a worker has to keep the message, as with any other queue.
    place = broker.queue if exchange_type == "direct" else KEEPS_90_SECONDS
    publisher = publisher_for(broker, exchange_type)
    watched = targets(countdown=90, **options)
    sent = calls(events(), watched)
    assert publish(publisher, events(), watched) == []
    ours = take_all(broker, place, len(sent))
    publisher.close()
    send_as_celery(publisher, sent)
    assert ours == take_all(broker, place, len(sent))


def test_it_arrives_where_no_worker_has_ever_been(empty_rabbitmq: Broker) -> None:
    publisher = publisher_for(empty_rabbitmq)
    assert publish(publisher, events()[:3], targets(countdown=1)) == []
    publisher.close()
    with empty_rabbitmq.connect() as connection:
        queue: Any = kombu.Queue(empty_rabbitmq.queue)(connection.default_channel)
        assert eventually(lambda: queue.queue_declare(passive=True).message_count == 3)


def test_delays_that_were_deleted_are_made_again(empty_rabbitmq: Broker) -> None:
    publisher = publisher_for(empty_rabbitmq)
    assert publish(publisher, events()[:3], targets(countdown=90)) == []
    take_all(empty_rabbitmq, KEEPS_90_SECONDS, 3)
    with empty_rabbitmq.connect() as connection:
        channel: Any = connection.default_channel
        channel.exchange_delete("celery_delayed_27")
    assert publish(publisher, events()[:3], targets(countdown=90)) == []
    publisher.close()
    take_all(empty_rabbitmq, KEEPS_90_SECONDS, 3)


def test_delays_that_were_declared_otherwise_are_named(empty_rabbitmq: Broker) -> None:
    publisher = publisher_for(empty_rabbitmq)
    assert publish(publisher, events()[:3], targets(countdown=90)) == []
    publisher.close()
    publisher._app.conf.update(broker_native_delayed_delivery_queue_type="classic")
    refusals = publish(publisher, events()[:3], targets(countdown=90))
    publisher.close()
    assert len(refusals) == 3
    assert all(re.search(r"PRECONDITION_FAILED.*'celery_delayed_27'", refusal.reason) for refusal in refusals)


@pytest.mark.parametrize("exchange_type", ["topic", "direct"])
def test_a_message_of_celerys_is_delayed_in_the_same_way(own_rabbitmq: RabbitMQ, exchange_type: str) -> None:
    """Celery has made it where it was sent, and its countdown goes on from there."""
    broker = Broker("rabbitmq", own_rabbitmq.url)
    place = broker.queue if exchange_type == "direct" else KEEPS_90_SECONDS
    publisher = publisher_for(broker, exchange_type)
    eta = (datetime.now(UTC) + timedelta(seconds=90.9)).isoformat()
    message = {"id": "one", "eta": eta, "queue": broker.queue, "exchange": broker.queue, "routing_key": "shop.reprice"}
    data = {"task": "shop.mail", "args": "[1]", "kwargs": "{}", "message": message}
    sent = Event(1, "", "send", None, data, None, datetime.now(UTC))
    assert publish(publisher, [sent], Targets(sendable=frozenset({"shop.mail"}))) == []
    publisher.close()
    [arrived] = take_all(broker, place, 1)
    assert arrived["headers"]["task"] == "shop.mail"
    assert arrived["delivery"]["routing_key"].endswith("shop.reprice")
    now = {**data, "message": {**message, "eta": datetime.now(UTC).isoformat()}}
    due = Event(2, "", "send", None, now, None, datetime.now(UTC))
    assert publish(publisher, [due], Targets(sendable=frozenset({"shop.mail"}))) == []
    publisher.close()
    take_all(broker, broker.queue, 1)
