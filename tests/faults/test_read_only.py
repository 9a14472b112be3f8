"""A server that refuses writes, such as a standby before its promotion, is an outage, not a permanent error."""

import psycopg
from psycopg import sql
from psycopg.types.json import Jsonb

from tests.celery_queue import inbox
from tests.eventually import eventually
from tests.fix_bridge import Bridges
from tests.fix_broker import Broker
from tests.fix_postgres import Database, on_pg18

pytestmark = on_pg18


def read_only(conn: psycopg.Connection, database: Database, value: str) -> None:
    """Changes new sessions, and ends the bridge's sessions as a failover would."""
    name = sql.Identifier(database.name)
    conn.execute(sql.SQL("alter database {} set default_transaction_read_only = {}").format(name, sql.SQL(value)))
    bridges = "select pid from pg_stat_activity where datname = current_database() and application_name ~ '^bridge '"
    conn.execute(f"select pg_terminate_backend(pid, 5000) from ({bridges}) b".encode())


def test_it_waits_until_writes_are_taken_again(
    database: Database, conn: psycopg.Connection, valkey: Broker, run_bridge: Bridges
) -> None:
    conn.execute("create table product (id int primary key)")
    conn.execute("select bridge.watch('p', 'product', 'shop.touch', options => %s)", [Jsonb({"queue": valkey.queue})])
    bridge = run_bridge(database.dsn, broker_url=valkey.url)
    # All of its sessions must be there to be ended: an idle one that ends alone is noticed at the next look.
    sleeping = "select from pg_stat_activity where datname = current_database() and application_name ~ '^bridge sleep'"
    assert eventually(lambda: conn.execute(sleeping).rowcount == 1)
    read_only(conn, database, "on")
    bridge.wait_for("database away")
    conn.execute("insert into product values (1)")
    read_only(conn, database, "off")
    with inbox(valkey) as tasks:
        assert [task.args for task in tasks.take(1)] == [[1]]
        bridge.wait_for("running")
        assert tasks.waiting() == 0
    assert bridge.stop() == 0
