"""Checks of an outage, whatever its cause, and a change that must survive it."""

from typing import Any

import psycopg
from psycopg.types.json import Jsonb

from tests.celery_queue import inbox
from tests.eventually import eventually
from tests.fix_bridge import Bridge
from tests.fix_broker import Broker

SAID = {"broker away, trying again": "WARNING", "broker is back": "INFO"}
NOTED = "select broker_error from bridge.status() where (broker_error is null) = (broker_away_since is null)"
STATE = 'bridge_relay_state{bridge_relay_state="broker away",stream="default"} '


def watch(conn: psycopg.Connection, broker: Broker) -> None:
    conn.execute("create table product (id int primary key)")
    conn.execute("select bridge.watch('p', 'product', 'shop.touch', options => %s)", [Jsonb({"queue": broker.queue})])


def insert(conn: psycopg.Connection, first: int, last: int) -> None:
    """Inserts the rows in one transaction."""
    conn.execute("insert into product select generate_series(%s::int, %s::int)", [first, last])


def number(conn: psycopg.Connection, query: str) -> int:
    row = conn.execute(query.encode()).fetchone()
    assert row is not None
    return int(row[0])


def delivered(conn: psycopg.Connection) -> None:
    """Waits until the position is behind the last event."""
    waiting = "select count(*) from bridge.waiting"
    assert eventually(lambda: number(conn, waiting) == 0, 30), f"{number(conn, waiting)} events wait"


def notices(bridge: Bridge) -> list[dict[str, Any]]:
    """Returns what concerns the outage. The bridge of these tests has no app, and warns of that."""
    lines = [line for line in bridge.lines() if not line["message"].startswith("no --app is given")]
    return [line for line in lines if line["level"] != "INFO" or line["message"] in SAID]


def begins(conn: psycopg.Connection, bridge: Bridge, reason: str, waiting: int, seconds: float = 10) -> None:
    """Checks that the outage is noticed within `seconds`, logged once with its reason, and shown.

    All events that waited must still wait.
    """
    bridge.wait_for("broker away", seconds=seconds)
    assert f"{STATE}1.0" in bridge.get("/metrics")
    # The check waits for the second try, because later tries must log nothing.
    tries = 'bridge_broker_errors_total{stream="default"} '
    assert eventually(lambda: float(bridge.get("/metrics").partition(f"\n{tries}")[2].split("\n")[0]) >= 2)
    assert [(line["message"], line["level"]) for line in notices(bridge)] == [("broker away, trying again", "WARNING")]
    assert reason in notices(bridge)[0]["reason"], notices(bridge)
    assert reason in str(conn.execute(NOTED).fetchall()), "the database must show the reason too"
    assert number(conn, "select count(*) from bridge.waiting") == waiting


def ends(conn: psycopg.Connection, bridge: Bridge) -> None:
    """Checks that all is delivered, no event became a dead letter, and the end is logged once."""
    delivered(conn)
    bridge.wait_for("running")
    assert f"{STATE}0.0" in bridge.get("/metrics")
    assert eventually(lambda: bridge.said("broker is back"))
    assert [(line["message"], line["level"]) for line in notices(bridge)] == list(SAID.items())
    assert conn.execute(NOTED).fetchall() == [(None,)]
    assert number(conn, "select count(*) from bridge.dead_letter") == 0


def arrived_once(broker: Broker, last: int) -> None:
    """Checks that each key from 1 to `last` arrived once, in order."""
    with inbox(broker) as tasks:
        assert [task.args for task in tasks.take_all()] == [[key] for key in range(1, last + 1)]
