"""What Redis refuses becomes a refusal with a sentence, and the other events are sent."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import kombu
import pytest
import redis
from msgspec.structs import replace

from bridge.call import Target, Targets
from bridge.publisher import Publisher
from tests.fix_broker import Broker
from tests.publisher.poison import batch, keys, refused
from tools.servers import Valkey


@contextmanager
def client_of(broker: Broker) -> Iterator[Any]:
    with broker.connect() as connection:
        channel: Any = connection.default_channel
        yield channel.client


def test_redis_an_exchange_of_a_queue_that_nothing_is_bound_to(valkey: Broker) -> None:
    """The app has a queue for topics, and the routing key matches none of them."""
    events, _ = batch(valkey)
    topics = kombu.Exchange(valkey.other_queue("topics"), type="topic")
    publisher = Publisher(valkey.url)
    publisher._app.conf.task_queues = [kombu.Queue(valkey.queue, topics, routing_key="shop.#")]
    routes = {"shop.lost": {"queue": valkey.queue, "routing_key": "stock.moved"}}
    publisher._app.conf.update(
        task_routes=routes, task_default_queue=valkey.queue, task_default_routing_key="shop.touched"
    )
    targets = Targets({"w": Target("shop.touch", {}), "poison": Target("shop.lost", {})})
    assert ["no queue takes messages" in text for text in refused(publisher, events, targets).values()] == [True]
    assert keys(valkey, 4) == [1, 2, 4, 5]


def test_redis_a_key_that_is_no_list(valkey: Broker, way: str) -> None:
    other = valkey.other_queue("other")
    events, targets = batch(valkey, queue=other)
    with client_of(valkey) as client:
        client.set(other, "a string")
        client.set("_kombu.binding." + valkey.other_queue("bound"), "a string")
        assert ["WRONGTYPE" in text for text in refused(Publisher(valkey.url), events, targets).values()] == [True]
        assert keys(valkey, 4) == [1, 2, 4, 5]
        events, targets = batch(valkey, queue=valkey.queues[-1])
        assert ["WRONGTYPE" in text for text in refused(Publisher(valkey.url), events, targets).values()] == [True]
    assert keys(valkey, 4) == [1, 2, 4, 5]


def test_redis_a_key_that_the_user_may_not_touch(own_valkey: Valkey, way: str) -> None:
    broker = Broker("private", own_valkey.url())
    events, targets = batch(broker, queue="forbidden")
    with redis.Redis(unix_socket_path=str(own_valkey.socket)) as admin:
        admin.acl_setuser(
            "shop", enabled=True, passwords=["+secret"], commands=["+@all"], reset=True,
            keys=[f"{broker.queue}*", f"_kombu.*{broker.queue}*"],
        )  # fmt: skip
        url = own_valkey.url().replace("://", "://shop:secret@")
        reasons = refused(Publisher(url), events, targets)
        admin.acl_deluser("shop")
    assert ["permissions" in text.lower() for text in reasons.values()] == [True], reasons
    assert keys(broker, 4) == [1, 2, 4, 5]


def test_redis_a_message_that_is_larger_than_it_takes(own_valkey: Valkey) -> None:
    broker = Broker("private", own_valkey.url())
    events, targets = batch(broker, queue=broker.queue)
    events[2] = replace(events[2], key=["x" * 2_000_000])
    with redis.Redis(unix_socket_path=str(own_valkey.socket)) as admin:
        admin.config_set("proto-max-bulk-len", "1mb")
        assert ["at most" in text for text in refused(Publisher(broker.url), events, targets).values()] == [True]
        admin.config_set("proto-max-bulk-len", "512mb")
    assert keys(broker, 4) == [1, 2, 4, 5]


def test_redis_what_it_took_before_it_gave_up_is_settled(own_valkey: Valkey) -> None:
    broker = Broker("private", own_valkey.url())
    events, targets = batch(broker, queue=broker.other_queue("large"))
    events[2] = replace(events[2], key=["x" * 3_000_000])
    publisher = Publisher(broker.url)
    publisher.connect()
    with redis.Redis(unix_socket_path=str(own_valkey.socket)) as admin:
        admin.config_set("maxmemory-policy", "noeviction")
        admin.config_set("maxmemory", str(int(admin.info("memory")["used_memory"]) + 2_000_000))
        receipt = publisher.publish(events, targets)
        assert "maxmemory" in str(receipt.outage)
        admin.config_set("maxmemory", "0")
    publisher.close()
    settled = receipt.arrived
    assert keys(broker, len(settled)) == [events[place].key[0] for place in sorted(settled)]  # type: ignore[index]


@pytest.mark.parametrize(
    "name",
    ["unacked", "unacked_index", "unacked_mutex", "_kombu.binding.{}", "_kombu.binding_deadlines", "{}\x06\x163"],
)
def test_redis_a_queue_with_the_name_of_a_key_that_kombu_keeps(valkey: Broker, way: str, name: str) -> None:
    """A list under this name would end every worker. With the separator the message would reach another queue."""
    named = name.format(valkey.other_queue("other"))
    events, targets = batch(valkey, queue=named)
    assert ["own records" in text for text in refused(Publisher(valkey.url), events, targets).values()] == [True]
    assert keys(valkey, 4) == [1, 2, 4, 5]
    with client_of(valkey) as client:
        assert not client.exists(named)


def test_redis_a_separator_of_the_apps_own(valkey: Broker) -> None:
    events, targets = batch(valkey, queue=f"{valkey.queue}:other")
    publisher = Publisher(valkey.url)
    publisher._app.conf.broker_transport_options = {"sep": ":", "unacked_key": "mine"}
    assert ["own records" in text for text in refused(publisher, events, targets).values()] == [True]
    assert keys(valkey, 4) == [1, 2, 4, 5]
