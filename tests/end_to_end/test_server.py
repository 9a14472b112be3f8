"""The database server or the broker goes away and comes back."""

from collections.abc import Iterator
from contextlib import closing, contextmanager

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
from tests.fix_bridge import Bridges
from tests.fix_broker import Broker
from tests.fix_postgres import TRIGGERS_SQL, on_pg18
from tools.servers import Postgres, RabbitMQ, Valkey

needs_rabbitmq = pytest.mark.skipif(not RabbitMQ.available(), reason="RabbitMQ is not installed")


@on_pg18
@pytest.mark.parametrize("connection", ["relay default", "listen default", "sleep default", "catalog", "%"])
def test_terminated_backend_is_replaced(
    conn: psycopg.Connection, valkey: Broker, run_bridge: Bridges, connection: str
) -> None:
    make_products(conn)
    watch(conn, "reprice", valkey.queue)
    run_bridge(conn.info.dsn, broker_url=valkey.url)
    all_delivered(conn)
    backends = "select pid from pg_stat_activity where datname = current_database() and application_name like %s"
    before = conn.execute(backends, [f"bridge {connection}"]).fetchall()
    assert before
    conn.execute(f"select pg_terminate_backend(pid, 5000) from ({backends}) b", [f"bridge {connection}"])
    with inbox(valkey) as queue:
        for key in (1, 2):
            reprice(conn, key)
            # Well below the poll floor of 30 s.
            assert [task.args for task in queue.take(1, seconds=10)] == [[key]]
        all_delivered(conn)
        assert queue.take_all() == []
    after = conn.execute(backends, [f"bridge {connection}"]).fetchall()
    assert not set(before) & set(after)


@contextmanager
def connected(server: Postgres) -> Iterator[psycopg.Connection]:
    with closing(psycopg.connect(server.dsn(), autocommit=True)) as connection:
        yield connection


def test_goes_on_after_a_crash_of_the_database(valkey: Broker, run_bridge: Bridges) -> None:
    with Postgres() as server, inbox(valkey) as queue:
        with connected(server) as conn:
            conn.execute(TRIGGERS_SQL.read_bytes())
            backlog(conn, 2000, valkey.queue)
        bridge = run_bridge(server.dsn(), "--batch-size=20", broker_url=valkey.url)
        waits(queue, 200)
        server.restart("immediate")
        bridge.wait_for("running")
        assert bridge.said("database away, reconnecting")
        with connected(server) as conn:
            reprice(conn, 1)
            all_delivered(conn)
            tasks = queue.take_all()
            assert {task.id for task in tasks} == expected_ids(conn)
            assert 2001 <= len(tasks) <= 2021
            assert tasks[-1].args == [1]


@pytest.fixture(params=["valkey", pytest.param("rabbitmq", marks=needs_rabbitmq)])
def broker_server(request: pytest.FixtureRequest) -> Iterator[Valkey | RabbitMQ]:
    """Yields a private broker that the test starts and stops itself."""
    server = Valkey() if request.param == "valkey" else RabbitMQ()
    yield server
    server.close()


def as_broker(server: Valkey | RabbitMQ) -> Broker:
    return Broker("private", server.url() if isinstance(server, Valkey) else server.url)


@on_pg18
def test_broker_that_is_down_at_the_start_gets_all_when_it_comes(
    conn: psycopg.Connection, broker_server: Valkey | RabbitMQ, run_bridge: Bridges
) -> None:
    broker = as_broker(broker_server)
    make_products(conn)
    watch(conn, "reprice", broker.queue)
    reprice(conn, 1)
    bridge = run_bridge(conn.info.dsn, broker_url=broker.url, state="broker away")
    reprice(conn, 2)
    broker_server.start()
    with inbox(broker) as queue:
        assert [task.args for task in queue.take(2)] == [[1], [2]]
        all_delivered(conn)
        assert queue.take_all() == []
    bridge.wait_for("running")
    assert bridge.said("broker is back")


@on_pg18
def test_broker_stopped_and_started_again_loses_nothing(
    conn: psycopg.Connection, broker_server: Valkey | RabbitMQ, run_bridge: Bridges
) -> None:
    broker_server.start()
    broker = as_broker(broker_server)
    make_products(conn, 500)
    watch(conn, "reprice", broker.queue)
    bridge = run_bridge(conn.info.dsn, broker_url=broker.url)
    with inbox(broker) as queue:
        reprice(conn, 1)
        [first] = queue.take(1)
        all_delivered(conn)
    broker_server.stop()
    conn.execute("update product set price = 0")
    bridge.wait_for("broker away")
    broker_server.start()
    all_delivered(conn)
    with inbox(broker) as queue:
        rest = queue.take_all()
    assert {task.id for task in (first, *rest)} == expected_ids(conn)
    assert len(rest) == 500


@on_pg18
@needs_rabbitmq
def test_rabbitmq_stopped_in_the_middle_loses_nothing(conn: psycopg.Connection, run_bridge: Bridges) -> None:
    with RabbitMQ() as server:
        broker = as_broker(server)
        backlog(conn, 4000, broker.queue)
        with inbox(broker) as queue:
            bridge = run_bridge(conn.info.dsn, "--batch-size=50", broker_url=broker.url)
            waits(queue, 500)
        server.stop()
        assert undelivered(conn) > 0, "the server must be stopped before all is delivered"
        bridge.wait_for("broker away")
        server.start()
        all_delivered(conn)
        with inbox(broker) as queue:
            ids = [task.id for task in queue.take_all()]
    assert set(ids) == expected_ids(conn)
    assert 4000 <= len(ids) <= 4050
