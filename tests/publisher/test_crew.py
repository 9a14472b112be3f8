"""Several publisher processes: order by key, settled calls, and a member that dies."""

import os
import signal
from collections.abc import Iterator
from datetime import UTC, datetime

import psycopg
import pytest
from psycopg.types.json import Jsonb

from bridge.call import Call, Target, Targets, call_for
from bridge.errors import BrokerError
from bridge.event import Event
from bridge.publisher import Crew
from tests.eventually import eventually
from tests.fix_bridge import Bridges
from tests.fix_broker import Broker
from tests.fix_postgres import Database, on_pg18
from tests.inbox import inbox

AT = datetime(2026, 11, 24, tzinfo=UTC)


def calls(broker: Broker, count: int, keys: int) -> list[Call]:
    targets = Targets({"w": Target("shop.touch", {"queue": broker.queue, "call": "event"})})
    made = [call_for(Event(n, "w", "update", [n % keys], None, None, AT), targets) for n in range(count)]
    return [call for call in made if isinstance(call, Call)]


def exists(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True


@pytest.fixture
def crew(broker: Broker) -> Iterator[Crew]:
    crew = Crew(2, broker.url, None)
    yield crew
    crew.close()


def test_all_calls_arrive_those_of_one_key_in_order(broker: Broker, crew: Crew) -> None:
    with inbox(broker) as tasks:
        assert crew.publish(calls(broker, 400, 7)) == []
        got = [(task.args[0]["key"][0], task.args[0]["id"]) for task in tasks.take(400)]
    assert sorted(number for _, number in got) == list(range(400))
    for key in range(7):
        ids = [number for of_key, number in got if of_key == key]
        assert ids == sorted(ids)


def test_a_member_that_was_killed_is_replaced_and_its_share_is_not_settled(valkey: Broker) -> None:
    crew = Crew(2, valkey.url, None)
    try:
        crew.connect()
        process = crew._members[0]._process
        os.kill(process.pid, signal.SIGKILL)
        process.join()
        sent = calls(valkey, 100, 10)
        with inbox(valkey) as tasks:
            with pytest.raises(BrokerError) as caught:
                crew.publish(sent)
            settled = caught.value.settled
            assert 0 < len(settled) < 100
            assert crew.publish([call for call in sent if call.task_id not in settled]) == []
            assert {task.id for task in tasks.take(100)} == {call.task_id for call in sent}
            assert tasks.waiting() == 0
    finally:
        crew.close()


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
