"""The link to the broker breaks: refused connections, resets, or a link that dies without a signal."""

from collections.abc import Callable
from urllib.parse import urlsplit

import psycopg
import pytest

from tests.celery_queue import inbox
from tests.faults import outage
from tests.fix_bridge import Bridge, Bridges
from tests.fix_broker import Broker
from tests.fix_postgres import on_pg18
from tests.fix_proxy import Address, Proxy
from tools.servers import Valkey

pytestmark = on_pg18


class Link:
    """A broker, the proxy in front of it, and the way a bridge connects through the proxy."""

    def __init__(self, broker: Broker, proxy: Proxy, url: str, run_bridge: Bridges) -> None:
        self.broker = broker
        self.proxy = proxy
        self._url = url
        self._run_bridge = run_bridge

    def bridge(self, conn: psycopg.Connection, state: str = "running") -> Bridge:
        env = {"SHOP_BROKER": self.broker.id}
        return self._run_bridge(
            conn.info.dsn, "--app=tests.faults.impatient_app:app", broker_url=self._url, env=env, state=state
        )


@pytest.fixture(params=["valkey", "rabbitmq"])
def link(request: pytest.FixtureRequest, proxy_to: Callable[[Address], Proxy], run_bridge: Bridges) -> Link:
    broker: Broker = request.getfixturevalue(request.param)
    if broker.id == "valkey":
        server: Valkey = request.getfixturevalue("embedded_valkey")
        proxy = proxy_to(server.socket)
        return Link(broker, proxy, f"redis://127.0.0.1:{proxy.port}/0", run_bridge)
    parts = urlsplit(broker.url)
    proxy = proxy_to((parts.hostname or "127.0.0.1", parts.port or 5672))
    host = f"{parts.username or 'guest'}:{parts.password or 'guest'}@127.0.0.1:{proxy.port}"
    return Link(broker, proxy, parts._replace(netloc=host).geturl(), run_bridge)


def test_refused_at_the_start(conn: psycopg.Connection, link: Link) -> None:
    outage.watch(conn, link.broker)
    outage.insert(conn, 1, 3)
    link.proxy.refuse()
    bridge = link.bridge(conn, "broker away")
    outage.begins(conn, bridge, "Connection refused", waiting=3)
    link.proxy.resume()
    outage.ends(conn, bridge)
    outage.arrived_once(link.broker, 3)


def test_reset_and_then_refused(conn: psycopg.Connection, link: Link) -> None:
    outage.watch(conn, link.broker)
    bridge = link.bridge(conn)
    outage.insert(conn, 1, 2)
    outage.delivered(conn)
    link.proxy.refuse()
    link.proxy.cut()
    outage.insert(conn, 3, 5)
    outage.begins(conn, bridge, "", waiting=3)
    link.proxy.resume()
    outage.ends(conn, bridge)
    outage.arrived_once(link.broker, 5)


def test_dead_without_a_word_is_noticed_in_time(conn: psycopg.Connection, link: Link) -> None:
    outage.watch(conn, link.broker)
    bridge = link.bridge(conn)
    outage.insert(conn, 1, 2)
    outage.delivered(conn)
    link.proxy.swallow()
    outage.insert(conn, 3, 5)
    # The app waits a second for an answer. The rest is for a busy machine.
    outage.begins(conn, bridge, "", waiting=3, seconds=5)
    link.proxy.cut()
    link.proxy.resume()
    outage.ends(conn, bridge)
    outage.arrived_once(link.broker, 5)


def test_dead_before_the_queue_is_declared(conn: psycopg.Connection, link: Link) -> None:
    outage.watch(conn, link.broker)
    bridge = link.bridge(conn)
    link.proxy.swallow()
    outage.insert(conn, 1, 3)
    outage.begins(conn, bridge, "", waiting=3, seconds=5)
    link.proxy.cut()
    link.proxy.resume()
    outage.ends(conn, bridge)
    outage.arrived_once(link.broker, 3)


def test_confirms_lost_on_the_way_repeat_the_batch_with_the_same_ids(conn: psycopg.Connection, link: Link) -> None:
    outage.watch(conn, link.broker)
    bridge = link.bridge(conn)
    outage.insert(conn, 1, 2)
    outage.delivered(conn)
    link.proxy.swallow("to_client")
    outage.insert(conn, 3, 5)
    with inbox(link.broker) as tasks:
        first = tasks.take(5)
        outage.begins(conn, bridge, "", waiting=3)
        link.proxy.cut()
        link.proxy.resume()
        outage.ends(conn, bridge)
        again = tasks.take_all()
    assert [task.args for task in first] == [[1], [2], [3], [4], [5]]
    assert len(again) % 3 == 0
    assert {task.id for task in again} == {task.id for task in first[2:]}
    assert [task.id for task in again[-3:]] == [task.id for task in first[2:]]
