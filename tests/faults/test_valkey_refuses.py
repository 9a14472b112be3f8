"""A Redis (here Valkey) is there but refuses writes: out of memory, or a replica since a failover."""

from collections.abc import Callable

import psycopg
import pytest
import redis

from tests.faults import outage
from tests.fix_bridge import Bridges
from tests.fix_broker import Broker
from tests.fix_postgres import on_pg18
from tools.servers import Valkey

pytestmark = on_pg18


def fill(admin: redis.Redis) -> None:
    admin.config_set("maxmemory-policy", "noeviction")
    admin.config_set("maxmemory", "1mb")


def make_room(admin: redis.Redis) -> None:
    admin.config_set("maxmemory", "0")


def demote(admin: redis.Redis) -> None:
    # No server listens on port 1, so nothing is copied from there.
    admin.replicaof("127.0.0.1", "1")


def promote(admin: redis.Redis) -> None:
    admin.replicaof("NO", "ONE")


@pytest.mark.parametrize(
    ("begin", "end", "reason"),
    [
        pytest.param(fill, make_room, "maxmemory", id="full"),
        pytest.param(demote, promote, "read only replica", id="read-only"),
    ],
)
@pytest.mark.parametrize("at", ["start", "work"])
def test_it_takes_no_writes_for_a_while(
    conn: psycopg.Connection,
    own_valkey: Valkey,
    run_bridge: Bridges,
    begin: Callable[[redis.Redis], None],
    end: Callable[[redis.Redis], None],
    reason: str,
    at: str,
) -> None:
    broker = Broker("private", own_valkey.url())
    outage.watch(conn, broker)
    with redis.Redis(unix_socket_path=str(own_valkey.socket)) as admin:
        if at == "start":
            begin(admin)
            outage.insert(conn, 1, 2)
        bridge = run_bridge(conn.info.dsn, broker_url=broker.url, state=None)
        if at == "work":
            outage.insert(conn, 1, 2)
            outage.delivered(conn)
            begin(admin)
        outage.insert(conn, 3, 5)
        outage.begins(conn, bridge, reason, waiting=5 if at == "start" else 3)
        end(admin)
        outage.ends(conn, bridge)
    outage.arrived_once(broker, 5)
