"""The position can't be moved: the events published before must not be published again at every try."""

import time
from collections.abc import Iterator
from contextlib import closing

import psycopg
import pytest
from psycopg import sql
from psycopg.types.json import Jsonb

from tests.celery_queue import Inbox, inbox
from tests.eventually import eventually
from tests.fix_bridge import Bridge, Bridges
from tests.fix_broker import Broker
from tests.fix_postgres import TRIGGERS_SQL, Database
from tools.servers import Postgres

PUBLICATIONS = ["for all tables", "for tables in schema bridge"]


@pytest.fixture(autouse=True)
def product(conn: psycopg.Connection, valkey: Broker) -> None:
    watch_product(conn, valkey)


@pytest.fixture
def queue(valkey: Broker) -> Iterator[Inbox]:
    with inbox(valkey) as queue:
        yield queue


def watch_product(conn: psycopg.Connection, valkey: Broker) -> None:
    conn.execute("create table product (id int primary key)")
    conn.execute("select bridge.watch('p', 'product', 'shop.touch', options => %s)", [Jsonb({"queue": valkey.queue})])


def undelivered(conn: psycopg.Connection) -> int:
    [(count,)] = conn.execute("select waiting from bridge.status()").fetchall()
    return int(count)


def reasons(bridge: Bridge) -> list[str]:
    return [line["reason"] for line in bridge.lines() if line["message"] == "database away, reconnecting"]


PLANTED = """
create function refuse() returns trigger language plpgsql as $$ begin raise exception 'not on a Friday'; end $$;
create trigger planted before update on bridge.position for each row execute function refuse();
"""


def test_a_trigger_of_the_administrators_has_events_published_once(
    database: Database, conn: psycopg.Connection, valkey: Broker, queue: Inbox, run_bridge: Bridges
) -> None:
    bridge = run_bridge(database.dsn, broker_url=valkey.url)
    conn.execute(PLANTED.encode())
    conn.execute("insert into product values (1)")
    [first] = queue.take(1)
    bridge.wait_for("database away")
    time.sleep(3)  # a retry at full speed, or with the first pauses of the back-off, would publish it again
    assert queue.waiting() == 0
    assert len(reasons(bridge)) == 1
    assert "the position can't be moved: not on a Friday" in reasons(bridge)[0]
    conn.execute("drop trigger planted on bridge.position")
    [again] = queue.take(1)
    assert again.id == first.id
    bridge.wait_for("running")
    assert eventually(lambda: undelivered(conn) == 0)
    assert bridge.stop() == 0


def test_a_right_that_was_revoked_has_events_published_once(
    database: Database, conn: psycopg.Connection, valkey: Broker, queue: Inbox, run_bridge: Bridges
) -> None:
    role = sql.Identifier(f"{database.name}_process")
    conn.execute(sql.SQL("create role {} login").format(role))
    try:
        conn.execute(sql.SQL("grant usage on schema bridge to {}").format(role))
        conn.execute(sql.SQL("grant all on all tables in schema bridge to {}").format(role))
        conn.execute(sql.SQL("grant execute on all functions in schema bridge to {}").format(role))
        dsn = psycopg.conninfo.make_conninfo(database.dsn, options=f"-c role={database.name}_process")
        bridge = run_bridge(dsn, broker_url=valkey.url)
        conn.execute(sql.SQL("revoke update on bridge.position from {}").format(role))
        conn.execute("insert into product values (1)")
        [first] = queue.take(1)
        bridge.wait_for("database away")
        time.sleep(3)
        assert queue.waiting() == 0
        assert "permission denied for table position" in reasons(bridge)[0]
        conn.execute(sql.SQL("grant update on bridge.position to {}").format(role))
        assert [task.id for task in queue.take(1)] == [first.id]
        assert bridge.stop() == 0
    finally:
        conn.execute(sql.SQL("drop owned by {}").format(role))
        conn.execute(sql.SQL("drop role {}").format(role))


@pytest.mark.parametrize("publication", PUBLICATIONS)
def test_a_publication_of_all_tables_is_in_nobodys_way(
    database: Database, conn: psycopg.Connection, valkey: Broker, queue: Inbox, run_bridge: Bridges, publication: str
) -> None:
    check_published(database.dsn, conn, valkey, queue, run_bridge, publication)


@pytest.mark.parametrize("publication", PUBLICATIONS)
def test_nor_is_one_that_somebody_reads(valkey: Broker, queue: Inbox, run_bridge: Bridges, publication: str) -> None:
    with (
        Postgres(settings={"wal_level": "logical"}) as server,
        closing(psycopg.connect(server.dsn(), autocommit=True)) as conn,
    ):
        conn.execute(TRIGGERS_SQL.read_bytes())
        watch_product(conn, valkey)
        conn.execute("select pg_create_logical_replication_slot('reader', 'pgoutput')")
        check_published(server.dsn(), conn, valkey, queue, run_bridge, publication)


def check_published(
    dsn: str, conn: psycopg.Connection, valkey: Broker, queue: Inbox, run_bridge: Bridges, publication: str
) -> None:
    """Checks each statement of ours that changes or deletes a row."""
    conn.execute(f"create publication everything {publication}".encode())
    conn.execute("insert into product values (1)")
    conn.execute("update bridge.position set cluster = 1")  # the relay adopts the log
    bridge = run_bridge(dsn, broker_url=valkey.url)
    conn.execute("insert into product values (2)")
    assert [task.args for task in queue.take(2)] == [[1], [2]]
    assert eventually(lambda: undelivered(conn) == 0)
    assert reasons(bridge) == []
    conn.execute("update bridge.position set broker_error = 'away', broker_away_since = now()")
    conn.execute("select bridge.allow('shop.mail'), bridge.disallow('shop.mail')")
    conn.execute("alter table bridge.event disable trigger all")
    conn.execute(
        "insert into bridge.event (stream, watch, op, key, xid) values ('default', 'p', 'insert', '[3]', '99999999')"
    )
    conn.execute("alter table bridge.event enable trigger user")
    assert conn.execute("select bridge.set_aside()").fetchone() == (1,)
    assert conn.execute("select bridge.retry(since => '-infinity')").fetchone() == (1,)
    assert [task.args for task in queue.take(1)] == [[3]]
    conn.execute("select bridge.once('00000000-0000-0000-0000-000000000001'), bridge.forget('0 s')")
    conn.execute("select bridge.unwatch('p')")
    assert bridge.stop() == 0
    assert queue.waiting() == 0
