"""RabbitMQ is there but accepts no messages: out of memory, a full queue that rejects, or a deleted queue."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
from psycopg.types.json import Jsonb

from tests.alarm import memory_alarm
from tests.celery_queue import inbox
from tests.faults import outage
from tests.fix_bridge import Bridges
from tests.fix_broker import Broker
from tests.fix_postgres import on_pg18
from tools.servers import RabbitMQ

pytestmark = on_pg18


@contextmanager
def room_for(server: RabbitMQ, queue: str, count: int) -> Iterator[None]:
    """Limits the queue by a policy, because all clients declare the queue with equal arguments."""
    limits = f'[{{<<"max-length">>, {count}}}, {{<<"overflow">>, <<"reject-publish">>}}]'
    server.evaluate(
        f'rabbit_policy:set(<<"/">>, <<"{queue}">>, <<"^{queue}$">>, {limits}, 0, <<"queues">>, <<"tests">>)'
    )
    try:
        yield
    finally:
        server.evaluate(f'rabbit_policy:delete(<<"/">>, <<"{queue}">>, <<"tests">>)')


def test_memory_alarm(conn: psycopg.Connection, own_rabbitmq: RabbitMQ, run_bridge: Bridges) -> None:
    broker = Broker("private", own_rabbitmq.url)
    outage.watch(conn, broker)
    # The app waits a second for the confirms.
    env = {"SHOP_BROKER": "rabbitmq"}
    bridge = run_bridge(conn.info.dsn, "--app=tests.faults.impatient_app:app", broker_url=broker.url, env=env)
    outage.insert(conn, 1, 2)
    outage.delivered(conn)
    with memory_alarm(own_rabbitmq):
        outage.insert(conn, 3, 5)
        outage.begins(conn, bridge, "RabbitMQ blocks publishers (low on memory)", waiting=3)
    outage.ends(conn, bridge)
    with inbox(broker) as tasks:
        arrived = [task.args[0] for task in tasks.take_all()]
    # Messages of an abandoned try lie in the server's buffers, and RabbitMQ reads them after the alarm. They have the
    # same ids and arrive in any order.
    assert arrived[:2] == [1, 2]
    assert set(arrived[2:]) == {3, 4, 5}


def test_queue_that_rejects_when_it_is_full(
    conn: psycopg.Connection, own_rabbitmq: RabbitMQ, run_bridge: Bridges
) -> None:
    broker = Broker("private", own_rabbitmq.url)
    outage.watch(conn, broker)
    with room_for(own_rabbitmq, broker.queue, 2), inbox(broker) as tasks:
        bridge = run_bridge(conn.info.dsn, broker_url=broker.url)
        outage.insert(conn, 1, 2)
        outage.delivered(conn)
        outage.insert(conn, 3, 4)
        outage.begins(conn, bridge, "refused", waiting=2)
        assert tasks.waiting() == 2
        # Workers make room, and no other action is needed.
        assert [task.args for task in tasks.take(2)] == [[1], [2]]
        outage.ends(conn, bridge)
        arrived = [task.args[0] for task in tasks.take_all()]
        assert set(arrived) == {3, 4}


def test_queue_that_is_gone_is_made_again(
    conn: psycopg.Connection, own_rabbitmq: RabbitMQ, run_bridge: Bridges
) -> None:
    broker = Broker("private", own_rabbitmq.url)
    outage.watch(conn, broker)
    bridge = run_bridge(conn.info.dsn, broker_url=broker.url)
    outage.insert(conn, 1, 2)
    outage.delivered(conn)
    with broker.connect() as connection:
        channel: Any = connection.default_channel
        channel.queue_delete(broker.queue)
    outage.insert(conn, 3, 5)
    outage.delivered(conn)
    assert outage.notices(bridge) == []
    with inbox(broker) as tasks:
        assert [task.args for task in tasks.take_all()] == [[3], [4], [5]]


def test_queue_that_was_declared_with_other_arguments(
    conn: psycopg.Connection, own_rabbitmq: RabbitMQ, run_bridge: Bridges
) -> None:
    """Only the events for this queue wait."""
    broker = Broker("private", own_rabbitmq.url)
    outage.watch(conn, broker)
    other = broker.other_queue("healthy")
    conn.execute("create table bill (id int primary key)")
    conn.execute("select bridge.watch('b', 'bill', 'shop.touch', options => %s)", [Jsonb({"queue": other})])
    with broker.connect() as connection:
        channel: Any = connection.default_channel
        channel.queue_declare(broker.queue, durable=True, auto_delete=False, arguments={"x-max-priority": 9})
        run_bridge(conn.info.dsn, broker_url=broker.url)
        outage.insert(conn, 1, 3)
        conn.execute("insert into bill values (7)")
        outage.delivered(conn)
        channel.queue_delete(broker.queue)
    with inbox(broker, other) as tasks:
        assert [task.args for task in tasks.take(1)] == [[7]]
    assert outage.number(conn, "select count(*) from bridge.dead_letter where reason ~ 'PRECONDITION_FAILED'") == 3
    conn.execute("select bridge.retry(watch => 'p')")
    outage.delivered(conn)
    outage.arrived_once(broker, 3)
