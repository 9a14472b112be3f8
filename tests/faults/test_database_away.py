"""The database goes away and comes back: nothing is lost, one WARNING at the start, one INFO at the end."""

from collections.abc import Iterator
from contextlib import closing
from typing import Any, Literal

import psycopg
import pytest
from psycopg.types.json import Jsonb

from tests.celery_queue import inbox
from tests.eventually import eventually
from tests.fix_bridge import Bridge, Bridges
from tests.fix_broker import Broker
from tests.fix_postgres import TRIGGERS_SQL
from tools.servers import Postgres


@pytest.fixture
def server(valkey: Broker) -> Iterator[Postgres]:
    """Yields a private server, with a watch on `product`."""
    with Postgres() as server:
        with closing(psycopg.connect(server.dsn(), autocommit=True)) as conn:
            conn.execute(TRIGGERS_SQL.read_bytes())
            conn.execute("create table product (id int primary key)")
            options = Jsonb({"queue": valkey.queue})
            conn.execute("select bridge.watch('p', 'product', 'shop.touch', options => %s)", [options])
        yield server


def insert(server: Postgres, key: int) -> None:
    with closing(psycopg.connect(server.dsn(), autocommit=True)) as conn:
        conn.execute("insert into product values (%s)", [key])


def outage(bridge: Bridge) -> list[Any]:
    return [(line["level"], line["message"]) for line in bridge.lines() if line["message"].startswith("database")]


def polls(bridge: Bridge) -> int:
    return sum(line.get("wakeup") == "polled" for line in bridge.lines())


@pytest.mark.parametrize("mode", ["fast", "immediate"])
def test_a_restart_loses_nothing_and_is_told_once(
    server: Postgres, valkey: Broker, run_bridge: Bridges, mode: Literal["fast", "immediate"]
) -> None:
    bridge = run_bridge(server.dsn(), broker_url=valkey.url)
    server.stop(mode)
    bridge.wait_for("database away")
    server.start()
    insert(server, 1)
    bridge.wait_for("running")
    with inbox(valkey) as tasks:
        assert [task.args for task in tasks.take(1)] == [[1]]
    assert outage(bridge) == [("WARNING", "database away, reconnecting"), ("INFO", "database is back")]


def test_a_server_that_is_away_at_the_start_is_waited_for(
    server: Postgres, valkey: Broker, run_bridge: Bridges
) -> None:
    insert(server, 1)
    server.stop()
    bridge = run_bridge(server.dsn(), broker_url=valkey.url, state=None)
    assert eventually(lambda: bool(outage(bridge)))
    server.start()
    with inbox(valkey) as tasks:
        assert [task.args for task in tasks.take(1)] == [[1]]
    assert [level for level, _ in outage(bridge)].count("WARNING") == 1


def test_an_administrators_timeouts_do_not_cut_it(server: Postgres, valkey: Broker, run_bridge: Bridges) -> None:
    with closing(psycopg.connect(server.dsn(), autocommit=True)) as conn:
        for name in ("statement_timeout", "lock_timeout", "idle_session_timeout"):
            conn.execute(f"alter role postgres set {name} = '200ms'".encode())
    bridge = run_bridge(server.dsn(), "--poll-floor=0.5", "--log-level=debug", broker_url=valkey.url)
    with inbox(valkey) as tasks, closing(psycopg.connect(server.dsn())) as writer:
        writer.execute("set idle_session_timeout = 0")
        # The writer holds the key, and the relay waits for it longer than each of the timeouts.
        writer.execute("insert into product values (1)")
        assert eventually(lambda: polls(bridge) >= 3)
        writer.commit()
        assert [task.args for task in tasks.take(1)] == [[1]]
    assert outage(bridge) == []
