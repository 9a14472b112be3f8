"""A log restored in another cluster delivers what waited, and starts anew."""

import psycopg
import pytest

from bridge.stream.event_log import EventLog
from tests.fix_postgres import Database
from tests.reading import deliver_all, insert

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("item")]


@pytest.mark.parametrize("batch_size", [2, 3, 100])
async def test_a_log_restored_in_another_cluster_delivers_what_waited_and_starts_anew(
    database: Database, conn: psycopg.Connection, batch_size: int
) -> None:
    """A dump and restore does this: another cluster, and transaction ids in the future of this one or in its past."""
    insert(conn, 1, 2)
    async with EventLog.open(database.dsn, "default", 100) as log:
        await log.own()
        assert await deliver_all(log) == [1, 2]
    insert(conn, 3)
    conn.execute("update bridge.event set xid = (xid::text::bigint + 1000000)::text::xid8")
    conn.execute(
        "update bridge.position set cluster = 1, seen = format('%s:%s:', last, last)::pg_snapshot from ("
        "select max(xid::text::bigint) as last from bridge.event) e"
    )
    insert(conn, 4)
    async with EventLog.open(database.dsn, "default", batch_size) as log:
        await log.own()
        assert await deliver_all(log) == [3, 4]
        insert(conn, 5)
        assert await deliver_all(log) == [5]
    async with EventLog.open(database.dsn, "default", batch_size) as log:
        await log.own()
        assert await deliver_all(log) == []
        insert(conn, 6)
        assert await deliver_all(log) == [6]


async def test_a_restored_log_where_nothing_waits_starts_anew_at_once(
    database: Database, conn: psycopg.Connection
) -> None:
    insert(conn, 1)
    async with EventLog.open(database.dsn, "default", 100) as log:
        await log.own()
        assert await deliver_all(log) == [1]
    conn.execute("update bridge.event set xid = '1000000'")
    conn.execute("update bridge.position set cluster = 1, seen = '2000000:2000000:'")
    async with EventLog.open(database.dsn, "default", 100) as log:
        await log.own()
        assert await deliver_all(log) == []
        insert(conn, 2)
        assert await deliver_all(log) == [2]
        assert await deliver_all(log) == []
