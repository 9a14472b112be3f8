"""Bridges that are killed or stopped, and two bridges at once."""

import signal
from contextlib import closing

import psycopg
import pytest

from tests.celery_queue import inbox
from tests.end_to_end.product import (
    all_delivered,
    backlog,
    expected_ids,
    make_products,
    reprice,
    undelivered,
    waits,
    watch,
)
from tests.eventually import eventually
from tests.fix_bridge import Bridges
from tests.fix_broker import Broker
from tests.fix_postgres import Database, on_pg15, on_pg18


@on_pg18
def test_killed_in_the_middle_and_started_again_loses_nothing(
    conn: psycopg.Connection, broker: Broker, run_bridge: Bridges
) -> None:
    backlog(conn, 4000, broker.queue)
    with inbox(broker) as queue:
        bridge = run_bridge(conn.info.dsn, "--batch-size=50", broker_url=broker.url)
        waits(queue, 500)
        bridge.kill()
        assert undelivered(conn) > 0, "the bridge must be killed before it has delivered all"
        bridge.start()
        all_delivered(conn)
        ids = [task.id for task in queue.take_all()]
    assert set(ids) == expected_ids(conn)
    # At most the batch in flight is delivered again, with the same ids.
    assert 4000 <= len(ids) <= 4050


@on_pg18
def test_killed_after_the_confirm_delivers_the_batch_again_with_the_same_ids(
    conn: psycopg.Connection, broker: Broker, run_bridge: Bridges
) -> None:
    make_products(conn, 10)
    watch(conn, "reprice", broker.queue)
    bridge = run_bridge(conn.info.dsn, broker_url=broker.url)
    with inbox(broker) as queue:
        # The worst moment to die: the broker has the tasks, but the relay can't move the position.
        with conn.transaction(), closing(psycopg.connect(conn.info.dsn, autocommit=True)) as other:
            conn.execute("select from bridge.position for update")
            other.execute("update product set price = 0")
            first = queue.take(10)
            relay = "datname = current_database() and application_name = 'bridge relay default'"
            waiting = f"select wait_event_type from pg_stat_activity where {relay}"
            assert eventually(lambda: other.execute(waiting).fetchone() == ("Lock",))
            bridge.kill()
            # The server process has already received the statement that moves the position, and would execute it.
            other.execute(f"select pg_terminate_backend(pid, 5000) from pg_stat_activity where {relay}")
        bridge.start()
        again = queue.take(10)
        all_delivered(conn)
        assert queue.take_all() == []
    assert [(task.id, task.args) for task in again] == [(task.id, task.args) for task in first]


@on_pg18
def test_stopped_in_the_middle_and_started_again_delivers_each_once(
    conn: psycopg.Connection, broker: Broker, run_bridge: Bridges
) -> None:
    backlog(conn, 3000, broker.queue)
    with inbox(broker) as queue:
        bridge = run_bridge(conn.info.dsn, "--batch-size=50", broker_url=broker.url)
        waits(queue, 500)
        assert bridge.stop() == 0
        assert undelivered(conn) > 0, "the bridge must be stopped before it has delivered all"
        bridge.start()
        all_delivered(conn)
        ids = [task.id for task in queue.take_all()]
    assert len(ids) == 3000
    assert set(ids) == expected_ids(conn)


@on_pg15
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_signal_stops_it_cleanly(
    conn: psycopg.Connection, database: Database, valkey: Broker, run_bridge: Bridges, number: signal.Signals
) -> None:
    bridge = run_bridge(database.dsn, broker_url=valkey.url)
    all_delivered(conn)
    assert bridge.stop(number) == 0
    assert [line["message"] for line in bridge.lines()][-2:] == ["stopping", "stopped"]
    left = (
        "select count(*) from pg_stat_activity where datname = current_database() and application_name like 'bridge %'"
    )
    assert eventually(lambda: conn.execute(left).fetchone() == (0,))


@on_pg18
def test_signal_stops_one_that_stands_by(conn: psycopg.Connection, valkey: Broker, run_bridge: Bridges) -> None:
    run_bridge(conn.info.dsn, broker_url=valkey.url)
    standby = run_bridge(conn.info.dsn, broker_url=valkey.url, state="standby")
    assert standby.stop() == 0


def test_two_at_once_deliver_each_event_once(
    database: Database, conn: psycopg.Connection, valkey: Broker, run_bridge: Bridges
) -> None:
    make_products(conn, 300)
    watch(conn, "reprice", valkey.queue)
    run_bridge(database.dsn, broker_url=valkey.url)
    run_bridge(database.dsn, broker_url=valkey.url, state="standby")
    for key in range(1, 301):
        reprice(conn, key)
    all_delivered(conn)
    with inbox(valkey) as queue:
        tasks = queue.take_all()
    assert [task.args for task in tasks] == [[key] for key in range(1, 301)]


@on_pg18
def test_standby_takes_over_when_the_owner_is_killed(
    conn: psycopg.Connection, broker: Broker, run_bridge: Bridges
) -> None:
    make_products(conn)
    watch(conn, "reprice", broker.queue)
    owner = run_bridge(conn.info.dsn, broker_url=broker.url)
    standby = run_bridge(conn.info.dsn, broker_url=broker.url, state="standby")
    with inbox(broker) as queue:
        reprice(conn, 1)
        assert [task.args for task in queue.take(1)] == [[1]]
        all_delivered(conn)
        owner.kill()
        reprice(conn, 2)
        assert [task.args for task in queue.take(1)] == [[2]]
        standby.wait_for("running")
        owner.start("standby")
        reprice(conn, 3)
        assert [task.args for task in queue.take(1)] == [[3]]
