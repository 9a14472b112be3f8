"""The cost of an idle bridge: the statements that its server receives."""

import re

import psycopg

from tests.eventually import eventually
from tests.fix_bridge import Bridges
from tests.fix_broker import Broker
from tests.fix_postgres import TRIGGERS_SQL
from tools.servers import Postgres

STATEMENT = re.compile(r"^(bridge [^|]+)\|.*(?:statement|execute [^:]*): ", re.MULTILINE)


def test_an_idle_stream_costs_one_look_at_each_floor_and_a_heartbeat_at_each_second(
    valkey: Broker, run_bridge: Bridges
) -> None:
    with Postgres(settings={"log_statement": "all", "log_line_prefix": "%a|"}) as server:
        with psycopg.connect(server.dsn(), autocommit=True) as conn:
            conn.execute(TRIGGERS_SQL.read_bytes())
            conn.execute("create table product (id int primary key)")
            conn.execute("select bridge.watch('p', 'product', 'shop.touch')")
        run_bridge(server.dsn(), "--poll-floor=0.5", broker_url=valkey.url)

        def counts(since: int) -> tuple[int, int, int]:
            """Returns the numbers of looks, heartbeats and all statements in the server's log after this position."""
            said = STATEMENT.findall(server.log.read_text()[since:])
            return said.count("bridge relay default"), said.count("bridge listen default"), len(said)

        # From here on the bridge sleeps, and its first heartbeat is over.
        assert eventually(lambda: "pg_notification_queue_usage" in server.log.read_text())
        start = len(server.log.read_text())
        assert eventually(lambda: counts(start)[0] >= 6)
        looks, heartbeats, everything = counts(start)
        assert looks // 2 - 1 <= heartbeats <= looks // 2 + 1
        assert everything == looks + heartbeats
