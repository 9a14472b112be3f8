"""The broker is stopped in an orderly way and started again."""

import psycopg
import pytest

from tests.faults import outage
from tests.fix_bridge import Bridges
from tests.fix_broker import Broker
from tests.fix_postgres import on_pg18
from tools.servers import RabbitMQ, Valkey

pytestmark = on_pg18


@pytest.mark.parametrize("kind", ["own_valkey", "own_rabbitmq"])
def test_stopped_in_the_middle_and_started_again(
    conn: psycopg.Connection, run_bridge: Bridges, request: pytest.FixtureRequest, kind: str
) -> None:
    server: Valkey | RabbitMQ = request.getfixturevalue(kind)
    broker = Broker("private", server.url() if isinstance(server, Valkey) else server.url)
    outage.watch(conn, broker)
    bridge = run_bridge(conn.info.dsn, broker_url=broker.url)
    outage.insert(conn, 1, 2)
    outage.delivered(conn)
    server.stop()
    try:
        outage.insert(conn, 3, 5)
        outage.begins(conn, bridge, "", waiting=3)
    finally:
        server.start()
    outage.ends(conn, bridge)
    outage.arrived_once(broker, 5)
