"""An event that can't be published is refused with a sentence, and the other events are sent."""

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import kombu
import pytest
import redis
from celery import Celery, signals
from kombu.serialization import registry  # type: ignore[attr-defined]  # the stubs don't have it
from msgspec.structs import replace

from bridge.call import Target, Targets
from bridge.event import Event
from bridge.publisher import Pool, Publisher
from tests.fix_broker import Broker
from tests.publisher.publishing import publish
from tests.publisher.test_template import event, take_all
from tools.servers import RabbitMQ, Valkey

LONG = "n" * 300


def batch(broker: Broker, **poison: Any) -> tuple[list[Event], Targets]:
    """Returns the events 1 to 5. The third one belongs to another watch, which has these options."""
    watches = {"w": Target("shop.touch", {"queue": broker.queue}), "poison": Target("shop.touch", poison)}
    events = [event([n], n) for n in range(1, 6)]
    events[2] = replace(events[2], watch="poison")
    return events, Targets(watches)


def keys(broker: Broker, count: int) -> list[Any]:
    return [part["body"][0][0] for part in take_all(broker, broker.queue, count)]


@pytest.fixture(params=["quick", "by Celery"])
def way(request: pytest.FixtureRequest) -> Iterator[str]:
    """Chooses how messages are sent. A receiver of Celery's signals makes Celery send each message."""

    def hear(**_: Any) -> None:
        pass

    if request.param == "by Celery":
        signals.before_task_publish.connect(hear)
    yield request.param
    signals.before_task_publish.disconnect(hear)


def refused(publisher: Publisher | Pool, events: list[Event], targets: Targets) -> dict[int, str]:
    try:
        return {refusal.event.id: refusal.reason for refusal in publish(publisher, events, targets)}
    finally:
        publisher.close()


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


@pytest.mark.parametrize("kind", ["rabbitmq", "valkey"])
def test_where_no_queue_ever_takes_it(request: pytest.FixtureRequest, kind: str) -> None:
    """A router of the app points to an exchange without queues. On Redis, kombu silently drops such messages."""
    broker: Broker = request.getfixturevalue(kind)

    def route(name: str, args: Any, kwargs: Any, options: Any, task: Any = None, **_: Any) -> dict[str, Any]:
        return {"exchange": "amq.direct", "routing_key": "nowhere"} if args == (3,) else {}

    events, targets = batch(broker)
    publisher = Publisher(broker.url)
    publisher._app.conf.update(task_routes=(route,), task_default_queue=broker.queue)
    targets = Targets({name: Target("shop.touch", {}) for name in targets.watches})
    assert ["no queue takes messages" in text for text in refused(publisher, events, targets).values()] == [True]
    assert keys(broker, 4) == [1, 2, 4, 5]


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


def test_where_a_route_leads_to_no_name_at_all(broker: Broker, way: str) -> None:
    events, targets = batch(broker)
    publisher = Publisher(broker.url)
    publisher._app.conf.update(
        task_routes={"shop.lost": {"exchange": "", "routing_key": ""}}, task_default_queue=broker.queue
    )
    targets = Targets({"w": Target("shop.touch", {}), "poison": Target("shop.lost", {})})
    assert ["no queue takes messages" in text for text in refused(publisher, events, targets).values()] == [True]
    assert keys(broker, 4) == [1, 2, 4, 5]


@pytest.mark.parametrize("hole", ["bridge", "body", "id", "other"])
def test_a_header_that_looks_like_the_bridges_own_place_holder(broker: Broker, hole: str) -> None:
    """The header once left text on Redis that was not JSON, which ends the worker that takes it."""
    name = f"bridge-hole-b3c1d9f0-{hole}"
    events, targets = batch(broker, queue=broker.queue, headers={name: name})
    assert refused(Publisher(broker.url), events, targets) == {}
    assert take_all(broker, broker.queue, 5)[2]["headers"][name] == name


@pytest.mark.parametrize("of", ["a queue of the app", "remote control"])
def test_a_queue_with_the_name_of_an_exchange_that_others_use(broker: Broker, way: str, of: str) -> None:
    """The first declaration fixes the type of an exchange, so the app could no longer declare its own exchange."""
    name = broker.other_queue("topics") if of == "a queue of the app" else "celery.pidbox"
    publisher = Publisher(broker.url)
    topics = kombu.Exchange(broker.queues[-1], type="topic")
    publisher._app.conf.task_queues = [kombu.Queue(broker.queue, topics, routing_key="shop.#")]
    publisher._app.conf.update(task_default_queue=broker.queue, task_default_routing_key="shop.touched")
    events = [event([n], n) for n in range(1, 6)]
    events[0] = replace(events[0], watch="poison")
    targets = Targets({"w": Target("shop.touch", {}), "poison": Target("shop.touch", {"queue": name})})
    found = refused(publisher, events, targets)
    assert {number: "another kind" in text for number, text in found.items()} == {1: True}
    assert keys(broker, 4) == [2, 3, 4, 5]
    with broker.connect() as connection:
        app: Any = publisher._app
        for exchange in (topics, app.control.mailbox.exchange):
            exchange(connection.default_channel).declare()


def of_no_effect(key: int) -> None:
    """Does nothing. A test registers this function as a task."""


def test_a_task_whose_own_options_are_wrong(broker: Broker, way: str) -> None:
    """Celery turns the error that kombu raises here on Redis into that of a lost connection."""
    events, _ = batch(broker)
    publisher = Publisher(broker.url)
    publisher._app.conf.update(task_default_queue=broker.queue)
    publisher._app.task(name="shop.wrong", shared=False, compression="none-such")(of_no_effect)
    targets = Targets({"w": Target("shop.touch", {}), "poison": Target("shop.wrong", {})})
    assert ["needs 'none-such'" in text for text in refused(publisher, events, targets).values()] == [True]
    assert keys(broker, 4) == [1, 2, 4, 5]


@pytest.mark.parametrize("timeout", [None, 0])
def test_rabbitmq_an_app_that_wants_no_timeout(rabbitmq: Broker, timeout: int | None) -> None:
    events, targets = batch(rabbitmq, queue=rabbitmq.queue)
    publisher = Publisher(rabbitmq.url)
    publisher._app.conf.broker_transport_options = {"read_timeout": timeout}
    assert refused(publisher, events, targets) == {}
    assert keys(rabbitmq, 5) == [1, 2, 3, 4, 5]


@contextmanager
def client_of(broker: Broker) -> Iterator[Any]:
    with broker.connect() as connection:
        channel: Any = connection.default_channel
        yield channel.client


@pytest.mark.parametrize("error", [KeyError, OSError, ConnectionResetError, RecursionError, RuntimeError, ValueError])
def test_a_router_of_the_app_that_raises(broker: Broker, error: type[Exception]) -> None:
    def route(name: str, args: Any, kwargs: Any, options: Any, task: Any = None, **_: Any) -> dict[str, Any]:
        if args == (3,):
            raise error("of the router")
        return {"queue": broker.queue}

    events, targets = batch(broker)
    publisher = Publisher(broker.url)
    publisher._app.conf.update(task_routes=(route,))
    assert list(refused(publisher, events, Targets(dict.fromkeys(targets.watches, Target("shop.touch", {}))))) == [3]
    assert keys(broker, 4) == [1, 2, 4, 5]


class MoodyApp(Celery):
    def send_task(self, *args: Any, **options: Any) -> Any:
        if args[1] == (3,):
            raise OSError("of the app's own way to send")
        return super().send_task(*args, **options)


def test_an_app_whose_own_way_to_send_raises(broker: Broker, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bridge.publisher.app._find", lambda _: MoodyApp("moody", set_as_current=False))
    events, targets = batch(broker, queue=broker.queue)
    assert list(refused(Publisher(broker.url, "moody:app"), events, targets)) == [3]
    assert keys(broker, 4) == [1, 2, 4, 5]


def test_a_serializer_that_raises(broker: Broker) -> None:
    def dump(value: Any) -> str:
        if value[0] == (3,):
            raise OSError("of the serializer")
        return kombu.serialization.dumps(value, "json")[2]

    before = {name: copy.copy(value) for name, value in vars(registry).items()}
    kombu.serialization.register("moody", dump, None, "application/json", "utf-8")
    try:
        events, targets = batch(broker, queue=broker.queue)
        publisher = Publisher(broker.url)
        publisher._app.conf.update(task_serializer="moody")
        assert list(refused(publisher, events, targets)) == [3]
    finally:
        vars(registry).update(before)
    assert keys(broker, 4) == [1, 2, 4, 5]


def test_two_events_with_one_id_are_told_apart(broker: Broker) -> None:
    """A sequence may give an id twice after a failover. Here only one of the events can't be published."""
    events, targets = batch(broker, queue=broker.queue)
    twins = [replace(events[0], key=[n], watch=watch) for n, watch in ((1, "w"), (2, "gone"), (3, "w"))]
    publisher = Publisher(broker.url)
    [refusal] = publish(publisher, twins, targets)
    publisher.close()
    assert refusal.event is twins[1]
    assert keys(broker, 2) == [1, 3]


@pytest.mark.parametrize("kind", ["rabbitmq", "valkey"])
def test_a_pool_lives_on_with_the_same_members(kind: str, request: pytest.FixtureRequest) -> None:
    broker: Broker = request.getfixturevalue(kind)
    events, targets = batch(broker, queue=broker.queue, headers={"n": 10**20, LONG: 1})
    twins = [*events, *(replace(one, watch="gone", flaw="x" if one.id == 5 else None) for one in events)]
    pool = Pool(2, broker.url, None)
    try:
        pool.connect()
        members = [member._process.pid for member in pool._members]
        found = publish(pool, twins, targets)
        assert [member._process.pid for member in pool._members] == members
    finally:
        pool.close()
    poison = [events[2]] if kind == "rabbitmq" else []
    assert [refusal.event for refusal in found] == [*poison, *twins[5:]]
    assert sorted(keys(broker, 5 - len(poison))) == [n for n in range(1, 6) if n != 3 or not poison]
