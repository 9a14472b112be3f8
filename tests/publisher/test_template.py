"""The publisher's messages are equal to those of Celery's own `send_task`, field by field, on every path.

The fast paths depend on details of Celery, kombu and py-amqp. `test_the_quick_way_is_taken` fails when a new version
of one of them makes the bridge fall back to the slow path.
"""

import itertools
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from uuid import UUID

import kombu
import msgspec
import pytest
from celery import Celery, signals

from bridge.call import Target, Targets
from bridge.event import Event
from bridge.publisher import Publisher
from bridge.publisher.receipt import Receipt
from bridge.publisher.sender.kombu import KombuSender
from tests.fix_broker import Broker
from tests.publisher.messages import AT, KEYS, calls, event, events, send_as_celery, take_all, targets
from tests.publisher.publishing import publish
from tests.publisher.signing import signed

WATCHES: dict[str, dict[str, Any]] = {
    "plain": {},
    "queue": {"queue": "other"},
    "priority": {"priority": 3},
    "headers": {"headers": {"tenant": "100%d %%", "deep": {"n": [1, None, True]}}},
    "expires": {"expires": 600},
    "countdown": {"countdown": 90},
    "event": {"call": "event"},
}


APPS: dict[str, dict[str, Any]] = {
    "default": {},
    "routes": {"task_routes": {"shop.*": {"queue": "routed", "priority": 5}}},
    "topic": {
        "task_default_exchange": "shop",
        "task_default_exchange_type": "topic",
        "task_default_routing_key": "s.t",
    },
    "yaml": {"task_serializer": "yaml", "accept_content": ["yaml"]},
    "compressed": {"task_compression": "zlib"},
    "protocol 1": {"task_protocol": 1},
    "transient": {"task_default_delivery_mode": "transient"},
    "sent event": {"task_send_sent_event": True},
    # Celery sends these messages one by one, but the confirms are awaited for many messages at once.
    "confirmed": {"task_send_sent_event": True, "broker_transport_options": {"confirm_publish": True}},
}


@pytest.mark.parametrize("watch", WATCHES)
@pytest.mark.parametrize("app", ["default", "routes"])
def test_every_option_of_a_watch_is_as_celery_sends_it(broker: Broker, watch: str, app: str) -> None:
    compare(broker, WATCHES[watch], APPS[app])


@pytest.mark.parametrize("app", APPS)
def test_every_setting_of_the_app_is_as_celery_has_it(broker: Broker, app: str) -> None:
    compare(broker, {}, APPS[app])


@pytest.mark.parametrize("context", ["7", "9223372036854775807", '{"user": 7, "tags": ["a", null]}', "not json"])
def test_the_context_of_a_transaction_is_in_the_header(broker: Broker, context: str) -> None:
    compare(broker, {}, {}, context)


@pytest.mark.parametrize("options", [{}, {"headers": {"tenant": "a", "traceparent": "mine"}}])
@pytest.mark.parametrize("state", [{}, {"tracestate": 'a="%b"'}])
def test_the_trace_of_a_request_is_in_the_headers(
    broker: Broker, options: dict[str, Any], state: dict[str, Any]
) -> None:
    parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    context = json.dumps({"user": 7, "traceparent": parent, **state})
    [call, *_] = calls(events(context), targets(**options))
    assert call.headers["traceparent"] == ("mine" if options else parent)
    compare(broker, options, {}, context)


@pytest.mark.parametrize("watch", ["plain", "headers"])
def test_kombus_way_sends_the_same(broker: Broker, watch: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bridge.publisher.sender.rabbitmq.RabbitSender.encoder", lambda *_: None)
    monkeypatch.setattr("bridge.publisher.sender.redis.RedisSender.encoder", lambda *_: None)
    compare(broker, WATCHES[watch], {})
    compare(broker, WATCHES[watch], {}, '{"traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"}')


@pytest.mark.parametrize("app", ["default", "compressed", "sent event"])
@pytest.mark.parametrize("inner", ["json", "yaml"])
def test_signed_messages_are_as_celery_sends_them(broker: Broker, app: str, inner: str, tmp_path: Path) -> None:
    """Decoding verifies the signature. Signatures are salted, so each one is different."""
    publisher = Publisher(broker.url)
    with signed(publisher._app, tmp_path, inner):
        compare(broker, {}, APPS[app], publisher=publisher)


def test_signed_messages_go_the_quick_way(broker: Broker, tmp_path: Path) -> None:
    publisher = Publisher(broker.url)
    with signed(publisher._app, tmp_path):
        assert goes_the_quick_way(publisher, {})
        publisher.close()


def test_what_cannot_be_signed_is_refused_and_the_rest_is_sent(valkey: Broker, tmp_path: Path) -> None:
    publisher = Publisher(valkey.url)
    publisher._app.conf.update(task_default_queue=valkey.queue)
    sent = [event([1], 1), event([object()], 2), event([3], 3)]
    with signed(publisher._app, tmp_path):
        [refusal] = publish(publisher, sent, targets())
        publisher.close()
        assert refusal.event == sent[1]
        assert len(take_all(valkey, valkey.queue, 2)) == 2


def compare(
    broker: Broker,
    watch: dict[str, Any],
    app: dict[str, Any],
    context: str | None = None,
    publisher: Publisher | None = None,
) -> None:
    queue = broker.other_queue("used")
    publisher = publisher or Publisher(broker.url)
    publisher._app.conf.update(app, task_default_queue=queue)
    if "task_routes" in app:
        publisher._app.conf.update(task_routes={"shop.*": {"queue": queue, "priority": 5}})
    if "task_default_exchange" in app:
        publisher._app.conf.update(task_default_exchange=queue)
    sent, watched = events(context), targets(**({**watch, "queue": queue} if "queue" in watch else watch))
    assert publish(publisher, sent, watched) == []
    ours = take_all(broker, queue, len(sent))
    publisher.close()
    send_as_celery(publisher, calls(sent, watched))
    for our, their in zip(ours, take_all(broker, queue, len(sent)), strict=True):
        assert our == their


@pytest.mark.parametrize(
    "options", [{}, {"queue": "q"}, {"priority": 2}, {"headers": {"tenant": "a"}}, {"call": "event"}]
)
def test_the_quick_way_is_taken(broker: Broker, options: dict[str, Any]) -> None:
    publisher = Publisher(broker.url)
    publisher._app.conf.update(task_default_queue=broker.queue)
    assert goes_the_quick_way(
        publisher, {name: broker.queue if name == "queue" else value for name, value in options.items()}
    )
    publisher.close()


def goes_the_quick_way(publisher: Publisher, options: dict[str, Any]) -> bool:
    connection = publisher._connected()
    template = connection._templates.get(Target("shop.tasks.reprice", options))
    quick, plain, _ = connection._senders
    assert isinstance(plain, KombuSender)
    return quick.encoder(template) is not None


def test_messages_of_many_watches_go_out_together_in_order(broker: Broker, monkeypatch: pytest.MonkeyPatch) -> None:
    publisher = Publisher(broker.url)
    sizes: list[int] = []
    sender = publisher._connected()._senders[0]
    send = sender.send

    def counted(messages: Sequence[Any], receipt: Receipt) -> None:
        sizes.append(len(messages))
        send(messages, receipt)

    monkeypatch.setattr(sender, "send", counted)
    watched = Targets({name: Target(f"shop.tasks.{name}", {"queue": broker.queue}) for name in ("reprice", "index")})
    asked = [Event(n, ("reprice", "index")[n % 2], "update", [n], None, None, AT) for n in range(9)]
    assert publish(publisher, asked, watched) == []
    publisher.close()
    sent = calls(asked, watched)
    taken = take_all(broker, broker.queue, len(sent))
    assert sizes == [len(sent)]
    assert [part["headers"]["task"] for part in taken] == [call.target.task for call in sent]
    assert [part["headers"]["id"] for part in taken] == [call.task_id for call in sent]


def test_each_message_has_a_delivery_tag_of_its_own(valkey: Broker) -> None:
    publishers = [Publisher(valkey.url) for _ in range(2)]
    for publisher in publishers:
        publisher._app.conf.update(task_default_queue=valkey.queue)
        assert publish(publisher, events(), targets()) == []
        publisher.close()
    with valkey.connect() as connection:
        channel: Any = connection.default_channel
        texts = [text for _ in range(2 * len(KEYS)) if (text := channel.client.rpop(valkey.queue))]
    tags = {UUID(msgspec.json.decode(text)["properties"]["delivery_tag"]) for text in texts}
    assert len(tags) == len(texts) == 2 * len(KEYS)


def test_whoever_listens_to_celerys_signals_hears_of_each_message(broker: Broker) -> None:
    heard: list[str] = []

    def hear(sender: str, headers: dict[str, Any], **_: Any) -> None:
        headers["trace"] = "t1"
        heard.append(headers["id"])

    publisher = Publisher(broker.url)
    publisher._app.conf.update(task_default_queue=broker.queue)
    signals.before_task_publish.connect(hear)
    try:
        assert publish(publisher, events(), targets()) == []
    finally:
        signals.before_task_publish.disconnect(hear)
    publisher.close()
    assert heard == [call.task_id for call in calls(events(), targets())]
    assert {part["headers"]["trace"] for part in take_all(broker, broker.queue, len(KEYS))} == {"t1"}


def test_a_result_backend_is_not_told_and_receivers_of_signals_have_it(
    valkey: Broker, monkeypatch: pytest.MonkeyPatch
) -> None:
    publisher = Publisher(valkey.url)
    app = publisher._app
    app.conf.update(task_default_queue=valkey.queue, result_backend="cache+memory://")
    told: list[str] = []
    monkeypatch.setattr(type(app.backend), "on_task_call", lambda _, producer, task_id: told.append(task_id))

    def keep(headers: dict[str, Any], **_: Any) -> None:
        app.backend.store_result(headers["id"], None, "STARTED")

    sent = calls(events(), targets())[0]
    signals.before_task_publish.connect(keep)
    try:
        assert publish(publisher, [sent.event], targets()) == []
    finally:
        signals.before_task_publish.disconnect(keep)
    publisher.close()
    assert told == []
    assert app.AsyncResult(sent.task_id).state == "STARTED"
    take_all(valkey, valkey.queue, 1)


class NumberingApp(Celery):
    """An app that overrides `send_task`, as an application may do."""

    def send_task(self, *args: Any, **options: Any) -> Any:
        options["headers"] = {**options["headers"], "number": next(self.conf.numbers)}
        return super().send_task(*args, **options)


def test_an_app_with_its_own_send_task_sends_by_it(valkey: Broker, monkeypatch: pytest.MonkeyPatch) -> None:
    app = NumberingApp("numbering", set_as_current=False)
    app.conf.update(task_default_queue=valkey.queue, numbers=itertools.count())
    monkeypatch.setattr("bridge.publisher.app._find", lambda _: app)
    publisher = Publisher(valkey.url, "numbering:app")
    assert publish(publisher, events(), targets()) == []
    publisher.close()
    assert [part["headers"]["number"] for part in take_all(valkey, valkey.queue, len(KEYS))] == [*range(len(KEYS))]


def test_a_router_that_looks_at_the_arguments_is_asked_for_each_message(rabbitmq: Broker) -> None:
    queues = [rabbitmq.other_queue("even"), rabbitmq.other_queue("odd")]

    def route(name: str, args: Any, kwargs: Any, options: Any, task: Any = None, **_: Any) -> dict[str, Any]:
        return {"queue": queues[args[0] % 2]}

    publisher = Publisher(rabbitmq.url)
    publisher._app.conf.update(task_routes=(route,))
    assert publish(publisher, [event([n], n) for n in range(10)], targets()) == []
    publisher.close()
    for parity, queue in enumerate(queues):
        keys = [part["body"][0] for part in take_all(rabbitmq, queue, 5)]
        assert keys == [[n] for n in range(parity, 10, 2)]


def test_what_cannot_be_serialized_is_refused_and_the_rest_is_sent(broker: Broker) -> None:
    publisher = Publisher(broker.url)
    publisher._app.conf.update(task_default_queue=broker.queue)
    sent = [event([0], 0), event([object()], 1), event([2], 2)]
    assert [refusal.event.id for refusal in publish(publisher, sent, targets())] == [1]
    publisher.close()
    assert [part["body"][0] for part in take_all(broker, broker.queue, 2)] == [[0], [2]]


def test_what_has_no_watch_is_refused_too(valkey: Broker) -> None:
    publisher = Publisher(valkey.url)
    gone = msgspec.structs.replace(event([2], 2), watch="gone")
    sent = [event([1], 1), gone, event([object()], 3)]
    refusals = publish(publisher, sent, targets(queue=valkey.queue))
    publisher.close()
    assert [refusal.event.id for refusal in refusals] == [2, 3]
    assert refusals[0].reason == 'watch "gone" does not exist'
    assert [part["body"][0] for part in take_all(valkey, valkey.queue, 1)] == [[1]]


def test_a_queue_that_the_app_does_not_know_is_refused_and_the_rest_is_sent(broker: Broker) -> None:
    publisher = Publisher(broker.url)
    publisher._app.conf.update(task_queues=[kombu.Queue(broker.queue)], task_create_missing_queues=False)
    publisher._app.conf.update(task_default_queue=broker.queue)
    queues = {"w": broker.queue, "other": "nobody-knows"}
    watched = Targets({name: Target("shop.tasks.reprice", {"queue": queue}) for name, queue in queues.items()})
    sent = [event([1], 1), msgspec.structs.replace(event([2], 2), watch="other"), event([3], 3)]
    [refusal] = publish(publisher, sent, watched)
    assert (refusal.event.id, "nobody-knows" in refusal.reason) == (2, True)
    publisher.close()
    assert [part["body"][0] for part in take_all(broker, broker.queue, 2)] == [[1], [3]]


@pytest.mark.parametrize("quick", [True, False])
def test_a_number_that_amqp_cannot_say_is_refused_and_json_says_it(
    broker: Broker, quick: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not quick:
        monkeypatch.setattr("bridge.publisher.connection.somebody_listens", lambda: True)
    publisher = Publisher(broker.url)
    sent = [event([1], 1), event([2], 2, context=str(10**30)), event([3], 3)]
    refused = [refusal.event.id for refusal in publish(publisher, sent, targets(queue=broker.queue))]
    publisher.close()
    assert refused == ([2] if broker.id == "rabbitmq" else [])
    kept = take_all(broker, broker.queue, 3 - len(refused))
    assert [part["body"][0] for part in kept] == [[n] for n in (1, 2, 3) if n not in refused]


def test_a_target_that_comes_again_is_recorded_once_and_endless_ones_are_forgotten(valkey: Broker) -> None:
    publisher = Publisher(valkey.url)
    messages = publisher._connected()._templates
    first = messages.get(Target("t", {"priority": 1}))
    assert messages.get(Target("t", {"priority": 1})) is first
    for number in range(2500):
        messages.get(Target(f"t{number}", {}))
    assert len(messages._known) <= 1000
    publisher.close()


def test_a_long_body_takes_several_frames(rabbitmq: Broker) -> None:
    publisher = Publisher(rabbitmq.url)
    publisher._app.conf.update(task_default_queue=rabbitmq.queue)
    sent = [event([42], 1), event(["x" * 400_000], 2), event([42], 3)]
    assert publish(publisher, sent, targets()) == []
    publisher.close()
    assert [
        len(part["body"][0][0]) if part["body"][0] != [42] else 42 for part in take_all(rabbitmq, rabbitmq.queue, 3)
    ] == [
        42,
        400_000,
        42,
    ]


def test_what_was_confirmed_before_a_refusal_is_settled(rabbitmq: Broker) -> None:
    """The queue accepts two messages and rejects the rest: exactly the rest must be published again."""
    with rabbitmq.connect() as connection:
        arguments = {"x-max-length": 2, "x-overflow": "reject-publish"}
        kombu.Queue(rabbitmq.queue, channel=connection.default_channel, queue_arguments=arguments).declare()
    publisher = Publisher(rabbitmq.url)
    # Another client declares the queue with these arguments, and the app knows them.
    publisher._app.conf.update(task_queues=[kombu.Queue(rabbitmq.queue, queue_arguments=arguments)])
    publisher._app.conf.update(task_default_queue=rabbitmq.queue, task_default_exchange="")
    sent = events()
    receipt = publisher.publish(sent, targets())
    assert receipt.outage is not None
    settled = receipt.arrived
    stored = take_all(rabbitmq, rabbitmq.queue, len(settled))
    assert 0 < len(settled) < len(sent)
    assert {part["headers"]["bridge"]["id"] for part in stored} == {sent[place].id for place in settled}
