"""The backlog after an outage is paced, new events are not."""

import time
from datetime import UTC, datetime, timedelta

import psycopg
import pytest
from psycopg.types.json import Jsonb

from tests.celery_queue import inbox
from tests.eventually import eventually
from tests.fix_bridge import Bridges
from tests.fix_broker import Broker
from tests.fix_postgres import Database, on_pg18

pytestmark = on_pg18
RATE = 20


def test_a_backlog_is_paced_and_fresh_events_are_not(
    database: Database, conn: psycopg.Connection, valkey: Broker, run_bridge: Bridges
) -> None:
    conn.execute("create table product (id int primary key)")
    conn.execute("select bridge.watch('p', 'product', 'shop.touch', options => %s)", [Jsonb({"queue": valkey.queue})])
    conn.execute(
        "insert into bridge.event (stream, watch, op, key, at) select 'default', 'p', 'insert', jsonb_build_array(n), "
        "now() - interval '1 minute' from generate_series(1, 60) n"
    )
    run_bridge(database.dsn, f"--catch-up-rate={RATE}", broker_url=valkey.url, state=None)
    with inbox(valkey) as tasks:
        tasks.take(1)
        started = time.monotonic()
        assert [task.args for task in tasks.take(59)] == [[n] for n in range(2, 61)]
        # Three batches, each worth a second; without pacing they arrive at once. Half a second is for the reader.
        assert time.monotonic() - started > 1.5
        conn.execute("insert into product select n from generate_series(1, 10 * 20) n")
        started = time.monotonic()
        tasks.take(10 * RATE)
        assert time.monotonic() - started < 5


def test_with_a_rate_many_events_of_one_row_are_one_task_too(
    database: Database, conn: psycopg.Connection, valkey: Broker, run_bridge: Bridges
) -> None:
    conn.execute("create table product (id int primary key)")
    options = Jsonb({"queue": valkey.queue, "coalesce": True})
    conn.execute("select bridge.watch('p', 'product', 'shop.touch', options => %s)", [options])
    conn.execute(
        "insert into bridge.event (stream, watch, op, key, at) "
        "select 'default', 'p', 'insert', jsonb_build_array(n %% 60), %s from generate_series(1, 6000) n",
        [datetime.now(UTC) - timedelta(minutes=1)],
    )
    run_bridge(database.dsn, f"--catch-up-rate={RATE}", broker_url=valkey.url, state=None)
    with inbox(valkey) as tasks:
        tasks.take(1)
        started = time.monotonic()
        # Events of one row that are read apart become several tasks, but 6,000 events must become few.
        eventually(lambda: conn.execute("select count(*) from bridge.waiting").fetchone() == (0,), 30)
        arrived = tasks.take_all()
    assert {task.args[0] for task in arrived} | {1} >= set(range(60)) - {0}
    # The first batch is read before the bridge knows that the watch coalesces.
    assert len(arrived) <= 20 + 2 * 60
    assert time.monotonic() - started > 1.5


@pytest.mark.parametrize(("grace", "status"), [("30s", 0), ("500ms", 3)])
def test_a_stop_in_the_middle_of_a_paced_batch_finishes_it_within_the_grace(
    database: Database, conn: psycopg.Connection, valkey: Broker, run_bridge: Bridges, grace: str, status: int
) -> None:
    conn.execute("create table product (id int primary key)")
    options = Jsonb({"queue": valkey.queue, "coalesce": True})
    conn.execute("select bridge.watch('p', 'product', 'shop.touch', options => %s)", [options])
    conn.execute(
        "insert into bridge.event (stream, watch, op, key, at) "
        "select 'default', 'p', 'insert', jsonb_build_array(n), %s from generate_series(1, 120) n",
        [datetime.now(UTC) - timedelta(minutes=1)],
    )
    flags = [f"--catch-up-rate={RATE}", f"--grace={grace}"]
    bridge = run_bridge(database.dsn, *flags, broker_url=valkey.url, state=None)
    with inbox(valkey) as tasks:
        assert eventually(lambda: tasks.waiting() >= RATE)
        time.sleep(0.5)
        assert bridge.stop() == status
        [(left,)] = conn.execute("select waiting from bridge.status()").fetchall()
        assert (tasks.waiting() + left == 120) == (status == 0)
