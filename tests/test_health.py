"""Health and metrics from outside: a stuck loop is visible, and the metrics of a backlog grow while it waits."""

from contextlib import closing
from datetime import UTC, datetime, timedelta
from http.client import HTTPConnection

import psycopg
import pytest

from bridge.telemetry import http
from bridge.telemetry.health import Health, State
from bridge.telemetry.prometheus import Metrics
from tests.eventually import eventually
from tests.fix_bridge import Bridges
from tests.fix_postgres import on_pg18
from tools.servers import Valkey


def get(port: int, path: str) -> tuple[int, str]:
    with closing(HTTPConnection("127.0.0.1", port, timeout=5)) as connection:
        connection.request("GET", path)
        answer = connection.getresponse()
        return answer.status, answer.read().decode()


@pytest.mark.anyio
async def test_a_stuck_event_loop_fails_healthz() -> None:
    health = Health(stuck_after=0.2)
    with http.serve("127.0.0.1", 0, health, Metrics()) as port:
        health.beat()
        assert get(port, "/healthz")[0] == 200
        # This request blocks the event loop, so the loop can't beat.
        assert eventually(lambda: get(port, "/healthz")[0] == 503)
        health.beat()
        assert get(port, "/healthz")[0] == 200


def test_lag_is_the_age_of_what_is_in_hand_and_nothing_otherwise() -> None:
    health = Health()
    assert (health.lag("s"), health.waiting("s")) == (0, 0)
    health.hold("s", datetime.now(UTC) - timedelta(seconds=100), 7)
    assert 100 <= health.lag("s") < 101
    assert health.waiting("s") == 7
    health.hold("s", None, 0)
    assert (health.lag("s"), health.waiting("s")) == (0, 0)


def test_a_count_holds_only_while_the_stream_is_behind() -> None:
    health = Health()
    health.set("s", State.RUNNING)
    health.count("s", 10, datetime.now(UTC))
    assert (health.behind(), health.waiting("s")) == ([], 0)
    health.hold("s", datetime.now(UTC) - timedelta(seconds=10), 2)
    health.count("s", 10, datetime.now(UTC))
    assert (health.behind(), health.waiting("s")) == (["s"], 10)
    assert health.lag("s") >= 10, "the events in hand are the oldest"
    health.hold("s", None, 0)
    assert health.waiting("s") == 0


def test_a_standby_knows_of_nothing() -> None:
    health = Health()
    health.hold("s", datetime.now(UTC) - timedelta(seconds=10), 2)
    health.set("s", State.STANDBY)
    assert (health.lag("s"), health.waiting("s"), health.is_busy("s")) == (0, 0, False)


@on_pg18
def test_lag_grows_while_the_broker_is_away(conn: psycopg.Connection, run_bridge: Bridges) -> None:
    conn.execute("create table product (id int primary key)")
    conn.execute("select bridge.watch('p', 'product', 'shop.touch')")
    with Valkey() as server:
        bridge = run_bridge(conn.info.dsn, broker_url=server.url())
        server.stop()
        conn.execute("insert into product values (1), (2), (3)")
        bridge.wait_for("broker away")
        first = bridge.gauge("bridge_lag_seconds")
        assert eventually(lambda: bridge.gauge("bridge_lag_seconds") > first + 1)
        assert bridge.gauge("bridge_waiting_events") == 3
        # The next look counts these events in the database.
        conn.execute("insert into product values (4), (5)")
        assert eventually(lambda: bridge.gauge("bridge_waiting_events") == 5, 40)
        server.start()
        assert eventually(lambda: bridge.gauge("bridge_lag_seconds") == 0)
        # Two events came while the relay held the first three, so the metrics may be zero for a moment in between.
        assert eventually(lambda: bridge.gauge("bridge_waiting_events") == 0)
