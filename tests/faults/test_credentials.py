"""Credentials that the broker does not accept (yet): an outage with this reason, which does not show the password."""

import secrets

import psycopg
import redis

from tests.faults import outage
from tests.fix_bridge import Bridges
from tests.fix_broker import Broker
from tests.fix_postgres import on_pg18
from tools.servers import RabbitMQ, Valkey

pytestmark = on_pg18


def test_rabbitmq_does_not_know_the_user_yet(
    conn: psycopg.Connection, own_rabbitmq: RabbitMQ, run_bridge: Bridges
) -> None:
    user, password = f"u{secrets.token_hex(4)}", secrets.token_hex(8)
    broker = Broker("private", own_rabbitmq.url)
    outage.watch(conn, broker)
    outage.insert(conn, 1, 3)
    url = own_rabbitmq.url.replace("guest:guest", f"{user}:{password}")
    bridge = run_bridge(conn.info.dsn, broker_url=url, state="broker away")
    outage.begins(conn, bridge, "ACCESS_REFUSED", waiting=3)
    own_rabbitmq.add_user(user, password)
    outage.ends(conn, bridge)
    outage.arrived_once(broker, 3)
    assert password not in bridge.log()


def test_valkey_has_another_password(conn: psycopg.Connection, own_valkey: Valkey, run_bridge: Bridges) -> None:
    password = secrets.token_hex(8)
    broker = Broker("private", own_valkey.url())
    outage.watch(conn, broker)
    outage.insert(conn, 1, 3)
    with redis.Redis(unix_socket_path=str(own_valkey.socket)) as admin:
        admin.config_set("requirepass", "another")
        url = own_valkey.url().replace("://", f"://:{password}@")
        bridge = run_bridge(conn.info.dsn, broker_url=url, state="broker away")
        outage.begins(conn, bridge, "invalid username-password pair", waiting=3)
        admin.config_set("requirepass", password)
        outage.ends(conn, bridge)
        admin.config_set("requirepass", "")
    outage.arrived_once(broker, 3)
    assert password not in bridge.log()
