"""The bridge is stopped: during a large backlog, during a publish that hangs, and twice."""

import os
import signal
import time

import psycopg
import pytest
from psycopg.types.json import Jsonb

from tests.celery_queue import inbox
from tests.end_to_end.product import undelivered
from tests.eventually import eventually
from tests.fix_bridge import Bridge, Bridges
from tests.fix_broker import Broker
from tests.fix_postgres import on_pg18
from tools.servers import Valkey

pytestmark = on_pg18
GAVE_UP = 3


def record(conn: psycopg.Connection, broker: Broker, count: int) -> None:
    conn.execute("create table product (id int primary key)")
    conn.execute("select bridge.watch('p', 'product', 'shop.touch', options => %s)", [Jsonb({"queue": broker.queue})])
    conn.execute("insert into product select n from generate_series(1, %s::int) n", [count])


def test_in_the_middle_of_a_large_backlog_it_repeats_nothing(
    conn: psycopg.Connection, valkey: Broker, run_bridge: Bridges
) -> None:
    record(conn, valkey, 200_000)
    bridge = run_bridge(conn.info.dsn, broker_url=valkey.url)
    with inbox(valkey) as queue:
        assert eventually(lambda: queue.waiting() > 2000)
        started = time.monotonic()
        assert bridge.stop() == 0
        assert time.monotonic() - started < 10
        left = undelivered(conn)
        assert left > 0, "the bridge must be stopped before it has delivered all"
        assert queue.waiting() == 200_000 - left


def hangs(bridge: Bridge, conn: psycopg.Connection, server: Valkey) -> None:
    """Freezes the broker, and returns while the bridge is publishing."""
    assert server.pid is not None
    os.kill(server.pid, signal.SIGSTOP)
    conn.execute("insert into product select n + 1000 from generate_series(1, 20) n")
    assert eventually(lambda: bridge.gauge("bridge_waiting_events") == 20)


@pytest.fixture
def server() -> Valkey:
    return Valkey()


def test_a_batch_given_up_has_an_exit_code_of_its_own_and_is_repeated(
    conn: psycopg.Connection, run_bridge: Bridges, server: Valkey
) -> None:
    with server:
        broker = Broker("private", server.url())
        record(conn, broker, 10)
        bridge = run_bridge(conn.info.dsn, "--grace=500ms", broker_url=broker.url)
        with inbox(broker) as queue:
            queue.take(10)
            assert eventually(lambda: undelivered(conn) == 0)
            hangs(bridge, conn, server)
            assert bridge.stop() == GAVE_UP
            assert bridge.said("stopped, but gave up a batch: it will be published again")
            assert server.pid is not None
            os.kill(server.pid, signal.SIGCONT)
            bridge.start()
            assert eventually(lambda: undelivered(conn) == 0)
            tasks = queue.take_all()
        assert {task.args[0] for task in tasks} == set(range(1001, 1021))
        assert len({task.id for task in tasks}) == 20
        assert len(tasks) <= 40


@pytest.mark.parametrize("second", [signal.SIGTERM, signal.SIGINT])
def test_a_second_signal_stops_at_once(
    conn: psycopg.Connection, run_bridge: Bridges, server: Valkey, second: signal.Signals
) -> None:
    with server:
        broker = Broker("private", server.url())
        record(conn, broker, 1)
        bridge = run_bridge(conn.info.dsn, "--grace=1h", broker_url=broker.url)
        assert eventually(lambda: undelivered(conn) == 0)
        hangs(bridge, conn, server)
        bridge.child.send(signal.SIGTERM)
        assert eventually(lambda: bridge.said("stopping"))
        started = time.monotonic()
        # The time between the log line and the second signal's handler is too short to matter to a person.
        bridge.child.send(second)
        assert bridge.child.wait(5) == 128 + second
        assert time.monotonic() - started < 2
