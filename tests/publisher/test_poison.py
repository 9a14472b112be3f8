"""An event that can't be published is refused with a sentence, and the other events are sent."""

import copy
from typing import Any

import kombu
import pytest
from celery import Celery
from kombu.serialization import registry  # type: ignore[attr-defined]  # the stubs don't have it
from msgspec.structs import replace

from bridge.call import Target, Targets
from bridge.publisher import Pool, Publisher
from tests.fix_broker import Broker
from tests.publisher.messages import event, take_all
from tests.publisher.poison import LONG, batch, keys, refused
from tests.publisher.publishing import publish


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
