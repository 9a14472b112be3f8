"""Databases and roles whose default isolation level is not read committed."""

import threading
from contextlib import closing

import psycopg
import pytest
from psycopg import IsolationLevel

from bridge.database.connect import connect
from bridge.operations import upkeep
from bridge.stream.event_log import EventLog
from tests.eventually import eventually
from tests.fix_postgres import Database
from tests.reading import deliver_all, insert
from tests.test_recycle import deliver, record, recycle, slot

pytestmark = pytest.mark.anyio


@pytest.fixture(autouse=True, params=["repeatable read", "serializable"])
def level(request: pytest.FixtureRequest, database: Database, conn: psycopg.Connection, item: None) -> None:
    """Sets the default level of all later sessions."""
    conn.execute(f"alter database {database.name} set default_transaction_isolation = '{request.param}'".encode())


async def test_an_event_that_is_committed_while_recycle_waits_for_its_lock_is_kept(
    database: Database, conn: psycopg.Connection, other: psycopg.Connection
) -> None:
    conn.execute("alter function bridge.recycle(interval) set lock_timeout = '20s'")
    record(conn, 7)
    await deliver(database)
    record(other, 7)

    def commit() -> None:
        blocked = "select from pg_locks where not granted and mode = 'AccessExclusiveLock' and database = "
        mine = "(select oid from pg_database where datname = current_database())"
        assert eventually(lambda: conn.execute((blocked + mine).encode()).fetchone() is not None)
        other.commit()

    writer = threading.Thread(target=commit)
    writer.start()
    async with connect(database.dsn, "catalog") as connection:
        assert await upkeep.recycle(connection, 0) == []
    writer.join()
    await deliver(database)
    assert recycle(conn, 0) == [slot(7)]


async def test_the_looks_of_a_relay_make_no_serializable_writer_fail(
    database: Database, conn: psycopg.Connection, other: psycopg.Connection
) -> None:
    """Such a failure needs a relay that reads the writer's rows, and a writer that has read rows changed since."""
    conn.execute("create table price (id int primary key, amount int)")
    conn.execute("insert into price values (1, 10)")
    other.isolation_level = IsolationLevel.SERIALIZABLE
    async with EventLog.open(database.dsn, "default", 100) as log:
        await log.own()
        other.execute("select amount from price")
        with closing(psycopg.connect(database.dsn)) as third:
            third.isolation_level = IsolationLevel.SERIALIZABLE
            third.execute("update price set amount = 11")
            third.commit()
        assert await deliver_all(log) == []
        insert(other, 1)
        other.commit()
        assert await deliver_all(log) == [1]
