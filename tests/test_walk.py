"""A window that is larger than a batch is walked with a cursor."""

import psycopg
import pytest

from bridge.database.statement import statement
from bridge.errors import DatabaseError
from bridge.stream.event_log import EventLog
from tests.fix_postgres import Database
from tests.reading import deliver_all, insert

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("item")]


@pytest.mark.parametrize("lost", ["close all", "discard all"])
async def test_a_walk_whose_cursor_is_gone_is_an_outage_and_begins_anew(
    database: Database, conn: psycopg.Connection, lost: str
) -> None:
    """A pooler can do that. A ConfigError would end the process, and with it all streams."""
    insert(conn, *range(25))
    async with EventLog.open(database.dsn, "default", 5) as log:
        await log.own()
        for _ in range(2):
            await log.move((await log.read()).position)
        await log._connection.execute(lost.encode())
        with pytest.raises(DatabaseError, match="bridge_rest"):
            await deliver_all(log)
    async with EventLog.open(database.dsn, "default", 5) as log:
        await log.own()
        assert await deliver_all(log) == list(range(10, 25))


@pytest.mark.parametrize("rows", [9, 10, 11, 20, 35])
async def test_a_large_window_is_walked_in_batches(database: Database, conn: psycopg.Connection, rows: int) -> None:
    insert(conn, *range(rows))
    async with EventLog.open(database.dsn, "default", 10) as log:
        await log.own()
        first = await log.read()
        assert len(first.events) == min(rows, 10)
        await log.move(first.position)
        assert await deliver_all(log) == list(range(min(rows, 10), rows))
        insert(conn, 100)
        assert await deliver_all(log) == [100]


async def test_what_commits_during_a_walk_comes_after_it(
    database: Database, conn: psycopg.Connection, other: psycopg.Connection
) -> None:
    insert(other, 1000)
    insert(conn, *range(25))
    async with EventLog.open(database.dsn, "default", 10) as log:
        await log.own()
        batch = await log.read()
        await log.move(batch.position)
        other.commit()
        insert(conn, 1001)
        assert await deliver_all(log) == [*range(10, 25), 1000, 1001]


async def test_a_relay_that_died_in_a_walk_goes_on_where_it_was(database: Database, conn: psycopg.Connection) -> None:
    insert(conn, *range(25))
    async with EventLog.open(database.dsn, "default", 10) as log:
        await log.own()
        await log.move((await log.read()).position)
    assert conn.execute("select waiting from bridge.status()").fetchone() == (15,)
    insert(conn, 100)
    async with EventLog.open(database.dsn, "default", 10) as log:
        await log.own()
        assert await deliver_all(log) == [*range(10, 25), 100]


@pytest.mark.parametrize("rows", [0, 1, 50_000])
@pytest.mark.parametrize("name", ["read_window", "walk_window"])
async def test_windows_are_read_through_the_index(
    database: Database, conn: psycopg.Connection, rows: int, name: str
) -> None:
    """The log is empty, new and without statistics, or large."""
    insert(conn, *range(rows))
    async with EventLog.open(database.dsn, "default", 10) as log:
        await log.own()
        values = {"stream": "default", "seen": "10:20:10,15", "upto": "10:30:", "after_id": 5, "rows": 10}
        rows_ = await log._connection.execute("explain " + statement(name), values)
        plan = "\n".join(row[0] for row in await rows_.fetchall())
    assert "Seq Scan on event" not in plan
    assert "event_0_lane_stream_xid_idx" in plan
