"""Connections die without a signal: what is sent is swallowed, and neither FIN nor RST arrives.

The deadline is the `tcp_user_timeout` of the DSN: one second here, thirty by default.
"""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from psycopg.types.json import Jsonb

from bridge.database.connect import connect
from bridge.errors import DatabaseError
from bridge.stream.event_log import EventLog
from bridge.stream.listener import Listener
from bridge.stream.sleep_key import SleepKey
from tests.celery_queue import inbox
from tests.eventually import eventually
from tests.fix_bridge import Bridges
from tests.fix_broker import Broker
from tests.fix_postgres import Database, on_pg18
from tests.fix_proxy import Address, Proxy

pytestmark = [pytest.mark.anyio, on_pg18]


@pytest.fixture
def proxy(database: Database, proxy_to: Callable[[Address], Proxy]) -> Proxy:
    server = conninfo_to_dict(database.dsn)
    return proxy_to(Path(str(server["host"])) / f".s.PGSQL.{server['port']}")


@pytest.fixture
def link(database: Database, proxy: Proxy) -> str:
    """Returns the database's address through the proxy."""
    return make_conninfo(database.dsn, host="127.0.0.1", port=proxy.port, tcp_user_timeout=1000)


@pytest.fixture
def watched(conn: psycopg.Connection) -> None:
    conn.execute("create table item (id int primary key)")
    conn.execute("select bridge.watch('item', 'item', 'shop.touch')")


@asynccontextmanager
async def listener(listening: str, arming: str, floor: float) -> AsyncIterator[Listener]:
    """Yields a listener whose two connections have different addresses."""
    async with (
        connect(listening, "listen default") as one,
        connect(arming, "sleep default") as other,
        anyio.create_task_group() as group,
    ):
        [(key,)] = await (await other.execute("select sleep_key from bridge.stream")).fetchall()
        await one.execute('listen "bridge:default"')
        yield Listener(one, SleepKey(other, key, group), "default", floor)
        group.cancel_scope.cancel()


async def fails(listener: Listener, reason: str) -> None:
    with anyio.fail_after(15), pytest.raises(DatabaseError, match=reason):
        async for _ in listener:
            pass


async def armed(listener: Listener) -> None:
    with anyio.fail_after(10):
        while await anext(listener) != "armed":
            pass


@pytest.mark.usefixtures("watched")
async def test_relay_connection_is_noticed_at_the_next_look(link: str, proxy: Proxy) -> None:
    async with EventLog.open(link, "default", 10) as log:
        await log.own()
        await log.read()
        await anyio.to_thread.run_sync(proxy.swallow)
        with anyio.fail_after(10), pytest.raises(DatabaseError, match="did not answer within 1 s"):
            await log.read()


@pytest.mark.usefixtures("watched")
async def test_listening_connection_is_noticed_by_the_heartbeat(database: Database, link: str, proxy: Proxy) -> None:
    async with listener(link, database.dsn, floor=0.2) as it:
        await armed(it)
        await anyio.to_thread.run_sync(proxy.swallow)
        await fails(it, "did not answer within 1 s")


@pytest.mark.usefixtures("watched")
async def test_connection_that_only_hears_no_more_is_noticed(database: Database, link: str, proxy: Proxy) -> None:
    async with listener(link, database.dsn, floor=0.2) as it:
        await armed(it)
        await anyio.to_thread.run_sync(proxy.swallow, "to_client")
        await fails(it, "did not answer within 1 s")


@pytest.mark.usefixtures("watched")
async def test_lost_sleep_key_is_noticed_by_the_heartbeat(
    database: Database, conn: psycopg.Connection, link: str, proxy: Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The server has ended the session and its lock, and the relay never got the message."""
    monkeypatch.setattr("bridge.stream.listener._ECHO", 0.5)
    async with listener(database.dsn, link, floor=0.2) as it:
        await armed(it)
        await anyio.to_thread.run_sync(proxy.swallow)
        sleeping = "select pid from pg_stat_activity where datname = current_database() and application_name ~ 'sleep'"
        conn.execute(f"select pg_terminate_backend(pid, 5000) from ({sleeping}) s".encode())
        await fails(it, "the sleep key is lost")
        await anyio.to_thread.run_sync(proxy.cut)


@pytest.mark.usefixtures("watched")
async def test_dead_sleep_connection_is_noticed_at_the_next_wakeup(
    database: Database, conn: psycopg.Connection, link: str, proxy: Proxy
) -> None:
    """Before the next wake-up nothing is wrong: the server still holds the key, and writers notify."""
    async with listener(database.dsn, link, floor=3600) as it:
        await armed(it)
        await anyio.to_thread.run_sync(proxy.swallow)
        conn.execute("insert into item values (1)")
        await fails(it, "did not answer within 1 s")


def test_a_bridge_whose_connections_all_go_dead_comes_back(
    conn: psycopg.Connection, valkey: Broker, run_bridge: Bridges, link: str, proxy: Proxy
) -> None:
    conn.execute("create table product (id int primary key)")
    conn.execute("select bridge.watch('p', 'product', 'shop.touch', options => %s)", [Jsonb({"queue": valkey.queue})])
    bridge = run_bridge(link, "--poll-floor=1", broker_url=valkey.url)
    with inbox(valkey) as tasks:
        conn.execute("insert into product values (1)")
        assert [task.args for task in tasks.take(1)] == [[1]]
        assert eventually(lambda: not conn.execute("select from bridge.waiting").fetchall())
        proxy.swallow()
        conn.execute("insert into product values (2)")
        bridge.wait_for("database away")
        conn.execute("insert into product values (3)")
        proxy.cut()
        proxy.resume()
        assert [task.args for task in tasks.take(2)] == [[2], [3]]
        bridge.wait_for("running")
    # The bridge stops before the proxy does, or the proxy's end could interrupt a connection.
    assert bridge.stop() == 0
    said = [line["message"] for line in bridge.lines() if line["message"].startswith("database")]
    assert said == ["database away, reconnecting", "database is back"]
