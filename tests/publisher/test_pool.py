"""Several publisher processes: order by key, settled calls, and a process that dies."""

import os
import signal
from collections.abc import Iterator
from datetime import UTC, datetime

import psycopg
import pytest
from msgspec.structs import replace
from psycopg.types.json import Jsonb

from bridge.call import Call, Target, Targets, call_for
from bridge.errors import BrokerError
from bridge.event import Event, Origin
from bridge.publisher import Pool
from tests.celery_queue import inbox
from tests.eventually import eventually
from tests.fix_bridge import Bridges
from tests.fix_broker import Broker
from tests.fix_postgres import Database, on_pg18
from tests.publisher.publishing import publish

AT = datetime(2026, 11, 24, tzinfo=UTC)


def targets(broker: Broker, task: str = "shop.touch", **options: object) -> Targets:
    return Targets({"w": Target(task, {"queue": broker.queue, "call": "event", **options})})


def events(count: int, keys: int) -> list[Event]:
    return [Event(n, "w", "update", [n % keys], None, None, AT) for n in range(count)]


def exists(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True


@pytest.fixture
def pool(broker: Broker) -> Iterator[Pool]:
    pool = Pool(2, broker.url, None)
    yield pool
    pool.close()


@pytest.fixture
def pool_on_valkey(valkey: Broker) -> Iterator[Pool]:
    pool = Pool(2, valkey.url, None)
    yield pool
    pool.close()


def test_all_events_arrive_those_of_one_key_in_order(broker: Broker, pool: Pool) -> None:
    with inbox(broker) as tasks:
        assert publish(pool, events(400, 7), targets(broker)) == []
        got = [(task.args[0]["key"][0], task.args[0]["id"]) for task in tasks.take(400)]
    assert sorted(number for _, number in got) == list(range(400))
    for key in range(7):
        ids = [number for of_key, number in got if of_key == key]
        assert ids == sorted(ids)


def test_a_member_that_was_killed_is_replaced_and_its_share_is_not_settled(valkey: Broker) -> None:
    pool = Pool(2, valkey.url, None)
    try:
        pool.connect()
        process = pool._members[0]._process
        os.kill(process.pid, signal.SIGKILL)
        process.join()
        sent = events(100, 10)
        with inbox(valkey) as tasks:
            receipt = pool.publish(sent, targets(valkey))
            assert receipt.outage is not None
            settled = receipt.arrived
            assert 0 < len(settled) < 100
            assert publish(pool, receipt.missing(sent), targets(valkey)) == []
            assert {task.args[0]["id"] for task in tasks.take(100)} == {event.id for event in sent}
            assert tasks.waiting() == 0
    finally:
        pool.close()


def test_events_arrive_as_they_were_also_values_that_few_formats_know(valkey: Broker, pool_on_valkey: Pool) -> None:
    values = [2**70, -1.5, None, True, "\u0000ü", {"deep": [1, {}]}]
    data = {"new": {"a": values}, "old_key": [1], "changed": ["a"]}
    context = '{"user": 7}'
    at = AT.replace(microsecond=120)
    event = Event(5, "w", "update", values, data, context, at, xid="7", merged=(Origin(2, at, "6"), Origin(3, at, "7")))
    watched = targets(valkey)
    call = call_for(event, watched)
    assert isinstance(call, Call)
    with inbox(valkey) as tasks:
        assert publish(pool_on_valkey, [event], watched) == []
        [task] = tasks.take(1)
    assert (task.id, task.args, task.headers["bridge"]) == (call.task_id, list(call.args), call.headers["bridge"])


def test_targets_that_change_are_known_to_each_member(valkey: Broker, pool_on_valkey: Pool) -> None:
    with inbox(valkey) as tasks:
        for name in ("shop.first", "shop.second"):
            watched = targets(valkey, name)
            for _ in range(2):
                assert publish(pool_on_valkey, events(20, 20), watched) == []
        assert [task.name for task in tasks.take(80)] == ["shop.first"] * 40 + ["shop.second"] * 40


def test_what_is_refused_comes_back_also_when_it_has_to_be_asked_again(valkey: Broker) -> None:
    pool = Pool(2, valkey.url, None)
    sent = [replace(event, watch="gone") if event.id % 2 else event for event in events(40, 40)]
    try:
        pool.connect()
        process = pool._members[0]._process
        os.kill(process.pid, signal.SIGKILL)
        process.join()
        with inbox(valkey) as tasks:
            receipt = pool.publish(sent, targets(valkey))
            assert receipt.outage is not None
            settled = receipt.arrived
            assert settled
            assert not any(number % 2 for number in settled)
            refusals = publish(pool, receipt.missing(sent), targets(valkey))
            assert [refusal.event for refusal in refusals] == [event for event in sent if event.id % 2]
            assert {refusal.reason for refusal in refusals} == {'watch "gone" does not exist'}
            assert {task.args[0]["id"] for task in tasks.take(20)} == set(range(0, 40, 2))
            assert tasks.waiting() == 0
    finally:
        pool.close()


def test_a_broker_that_is_away_is_a_failure_with_its_reason() -> None:
    pool = Pool(2, "redis://127.0.0.1:1/0", None)
    watched = Targets({"w": Target("shop.touch", {})})
    try:
        with pytest.raises(BrokerError, match="refused"):
            pool.connect()
        receipt = pool.publish(events(10, 10), watched)
        assert "refused" in str(receipt.outage)
        assert receipt.arrived == set()
    finally:
        pool.close()


@on_pg18
def test_a_bridge_with_several_publishers_delivers_in_order_and_leaves_no_process(
    database: Database, conn: psycopg.Connection, broker: Broker, run_bridge: Bridges
) -> None:
    conn.execute("create table product (id int primary key, n int)")
    conn.execute("insert into product select n, 0 from generate_series(1, 20) n")
    options = Jsonb({"queue": broker.queue, "call": "event"})
    conn.execute(
        "select bridge.watch('p', 'product', 'shop.touch', '{update}', data => '{n}', options => %s)", [options]
    )
    for _ in range(30):
        conn.execute("update product set n = n + 1")
    bridge = run_bridge(database.dsn, "--publishers=2", broker_url=broker.url)
    with inbox(broker) as tasks:
        got = [(task.args[0]["key"][0], task.args[0]["new"]["n"]) for task in tasks.take(600)]
        assert tasks.waiting() == 0
    for key in range(1, 21):
        assert [n for of_key, n in got if of_key == key] == list(range(1, 31))
    group = os.getpgid(bridge.child.pid)
    assert bridge.stop() == 0
    assert eventually(lambda: not exists(group), 10)
