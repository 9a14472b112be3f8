"""One instance takes over from an instance that was killed, stopped, frozen or cut off, and only from those."""

import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import make_conninfo
from psycopg.types.json import Jsonb

from tests.celery_queue import Inbox, inbox
from tests.end_to_end.product import undelivered
from tests.eventually import eventually
from tests.fix_bridge import Bridge, Bridges
from tests.fix_broker import Broker
from tests.fix_postgres import on_pg18
from tests.fix_proxy import Address, Proxy
from tests.roles import apply_roles
from tools.servers import Valkey

pytestmark = on_pg18
DEADLINE = "--takeover-after=1"


@pytest.fixture(autouse=True)
def product(conn: psycopg.Connection, valkey: Broker) -> None:
    conn.execute("create table product (id int primary key)")
    conn.execute("select bridge.watch('p', 'product', 'shop.touch', options => %s)", [Jsonb({"queue": valkey.queue})])


@pytest.fixture
def queue(valkey: Broker) -> Iterator[Inbox]:
    with inbox(valkey) as queue:
        yield queue


def insert(conn: psycopg.Connection, first: int, last: int) -> None:
    conn.execute("insert into product select n from generate_series(%s::int, %s::int) n", [first, last])


def keys(queue: Inbox, count: int, seconds: float = 20) -> list[int]:
    return [task.args[0] for task in queue.take(count, seconds)]


def all_delivered(conn: psycopg.Connection) -> None:
    assert eventually(lambda: undelivered(conn) == 0)


def freeze(bridge: Bridge) -> None:
    bridge.child.freeze()


def thaw(bridge: Bridge) -> None:
    bridge.child.send(signal.SIGCONT)


def test_a_frozen_owner_is_replaced_and_stands_by_when_it_thaws(
    conn: psycopg.Connection, valkey: Broker, queue: Inbox, run_bridge: Bridges
) -> None:
    owner = run_bridge(conn.info.dsn, DEADLINE, broker_url=valkey.url)
    standby = run_bridge(conn.info.dsn, DEADLINE, broker_url=valkey.url, state="standby")
    insert(conn, 1, 1)
    assert keys(queue, 1) == [1]
    all_delivered(conn)
    freeze(owner)
    insert(conn, 2, 2)
    assert keys(queue, 1) == [2]
    all_delivered(conn)
    assert standby.said("owner is frozen, ending its sessions")
    seen = "select seen::text, moved_at from bridge.position"
    before = conn.execute(seen).fetchone()
    thaw(owner)
    owner.wait_for("standby")
    assert conn.execute(seen).fetchone() == before
    insert(conn, 3, 3)
    assert keys(queue, 1) == [3]
    assert queue.waiting() == 0


def test_one_frozen_in_the_middle_repeats_at_most_the_batches_it_held(
    conn: psycopg.Connection, valkey: Broker, queue: Inbox, run_bridge: Bridges
) -> None:
    options = (DEADLINE, "--batch-size=50")
    owner = run_bridge(conn.info.dsn, *options, broker_url=valkey.url)
    run_bridge(conn.info.dsn, *options, broker_url=valkey.url, state="standby")
    insert(conn, 1, 5000)
    assert eventually(lambda: queue.waiting() >= 500)
    freeze(owner)
    assert conn.execute("select sum(waiting) > 0 from bridge.status()").fetchone() == (True,), "frozen too late"
    all_delivered(conn)
    thaw(owner)
    owner.wait_for("standby")
    tasks = queue.take_all()
    ids = {task.id: task.args[0] for task in tasks}
    assert sorted(ids.values()) == list(range(1, 5001))
    # The new owner repeats the batch whose position had not moved, and the old one repeats its current batch.
    assert len(tasks) <= 5000 + 2 * 50


def test_an_owner_whose_link_to_the_database_went_dead_is_replaced(
    conn: psycopg.Connection,
    valkey: Broker,
    queue: Inbox,
    run_bridge: Bridges,
    proxy_to: Callable[[Address], Proxy],
) -> None:
    info = conn.info
    proxy = proxy_to(Path(info.host) / f".s.PGSQL.{info.port}")
    through = make_conninfo(info.dsn, host="127.0.0.1", port=proxy.port)
    owner = run_bridge(through, DEADLINE, broker_url=valkey.url)
    run_bridge(info.dsn, DEADLINE, broker_url=valkey.url, state="standby")
    all_delivered(conn)
    # The proxy answers the server's keepalives, so only the owner's silence shows the fault.
    proxy.swallow()
    insert(conn, 1, 1)
    # Two deadlines, and some time for a machine with two cores.
    assert keys(queue, 1, seconds=6) == [1]
    proxy.cut()
    proxy.resume()
    owner.wait_for("standby")
    assert queue.waiting() == 0


def test_a_role_of_its_own_is_enough_to_take_over(
    conn: psycopg.Connection, valkey: Broker, queue: Inbox, run_bridge: Bridges
) -> None:
    name = f"{conn.info.dbname}_process"
    role = sql.Identifier(name)
    conn.execute(sql.SQL("create role {} login").format(role))
    apply_roles(conn.info.dsn, dict.fromkeys(("owner", "application", "process"), name))
    through = make_conninfo(conn.info.dsn, user=name)
    owner = run_bridge(through, DEADLINE, broker_url=valkey.url)
    standby = run_bridge(through, DEADLINE, broker_url=valkey.url, state="standby")
    freeze(owner)
    insert(conn, 1, 1)
    assert keys(queue, 1) == [1]
    owner.kill()
    assert standby.stop() == 0
    conn.execute(sql.SQL("drop owned by {}").format(role))
    conn.execute(sql.SQL("drop role {}").format(role))


def test_an_owner_whose_broker_is_away_is_not_frozen(conn: psycopg.Connection, run_bridge: Bridges) -> None:
    with Valkey() as server:
        owner = run_bridge(conn.info.dsn, DEADLINE, broker_url=server.url())
        standby = run_bridge(conn.info.dsn, DEADLINE, broker_url=server.url(), state="standby")
        server.stop()
        insert(conn, 1, 1)
        owner.wait_for("broker away")
        looks(conn, 5)
        assert (owner.states(), standby.states()) == ({"default": "broker away"}, {"default": "standby"})
        assert not standby.said("owner is frozen, ending its sessions")


def test_a_sleeping_owner_that_was_not_told_of_an_event_is_woken_and_not_deposed(
    conn: psycopg.Connection, valkey: Broker, queue: Inbox, run_bridge: Bridges
) -> None:
    owner = run_bridge(conn.info.dsn, DEADLINE, "--poll-floor=600", broker_url=valkey.url)
    standby = run_bridge(conn.info.dsn, DEADLINE, broker_url=valkey.url, state="standby")
    all_delivered(conn)
    asleep = "select bool_and(asleep) from bridge.status()"
    assert eventually(lambda: conn.execute(asleep).fetchone() == (True,))
    conn.execute("insert into bridge.event (stream, watch, op, key) values ('default', 'p', 'insert', '[7]')")
    assert keys(queue, 1) == [7]
    looks(conn, 3)
    assert owner.states() == {"default": "running"}
    assert not standby.said("owner is frozen, ending its sessions")


def test_a_standby_looks_once_per_deadline(conn: psycopg.Connection, valkey: Broker, run_bridge: Bridges) -> None:
    run_bridge(conn.info.dsn, DEADLINE, broker_url=valkey.url)
    run_bridge(conn.info.dsn, DEADLINE, broker_url=valkey.url, state="standby")
    started = time.monotonic()
    looks(conn, 4)
    assert time.monotonic() - started > 2.5


def test_a_killed_owner_is_replaced_at_once(
    conn: psycopg.Connection, valkey: Broker, queue: Inbox, run_bridge: Bridges
) -> None:
    owner = run_bridge(conn.info.dsn, broker_url=valkey.url)
    run_bridge(conn.info.dsn, broker_url=valkey.url, state="standby")
    all_delivered(conn)
    owner.kill()
    insert(conn, 1, 1)
    started = time.monotonic()
    assert keys(queue, 1) == [1]
    assert time.monotonic() - started < 5


def test_a_rolling_restart_loses_and_doubles_nothing(
    conn: psycopg.Connection, valkey: Broker, queue: Inbox, run_bridge: Bridges
) -> None:
    first = run_bridge(conn.info.dsn, "--batch-size=50", broker_url=valkey.url)
    second = run_bridge(conn.info.dsn, "--batch-size=50", broker_url=valkey.url, state="standby")
    insert(conn, 1, 2000)
    assert first.stop() == 0
    third = run_bridge(conn.info.dsn, "--batch-size=50", broker_url=valkey.url, state=None)
    second.wait_for("running")
    insert(conn, 2001, 4000)
    assert second.stop() == 0
    third.wait_for("running")
    insert(conn, 4001, 5000)
    all_delivered(conn)
    assert [task.args[0] for task in queue.take_all()] == list(range(1, 5001))


def looks(conn: psycopg.Connection, count: int) -> None:
    """Waits until the standby has looked at the owner `count` more times."""
    last = """
        select query_start from pg_stat_activity
        where application_name = 'bridge takeover default' and query like '-- A standby''s look:%'
            -- While the standby looks, each message of the protocol has its own start.
            and state = 'idle'
    """
    seen = set(conn.execute(last).fetchall())
    looks_before = len(seen)

    def looked() -> bool:
        seen.update(conn.execute(last).fetchall())
        return len(seen) >= looks_before + count

    assert eventually(looked, 30)
