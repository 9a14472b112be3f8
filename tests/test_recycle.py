"""The ring of the log: which slots are truncated, and which never are."""

import time
from contextlib import closing

import psycopg
import pytest

from bridge.stream.event_log import EventLog
from tests.fix_postgres import Database

pytestmark = pytest.mark.anyio
PERIOD = 4 * 3600  # the number of seconds in which a slot takes events


@pytest.fixture(autouse=True)
def item(conn: psycopg.Connection) -> None:
    conn.execute("create table item (id int primary key)")
    conn.execute("select bridge.watch('item', 'item', 'shop.touch')")


def slot(age: int) -> int:
    """Returns the slot that was written `age` periods ago."""
    return (int(time.time()) // PERIOD - age) % 8


def record(conn: psycopg.Connection, age: int, stream: str = "default") -> None:
    """Records an event as capture would have written it `age` periods ago."""
    conn.execute(
        "insert into bridge.event (stream, watch, op, key, slot) values (%s, 'item', 'insert', '[1]', %s)",
        [stream, slot(age)],
    )


async def deliver(database: Database, stream: str = "default") -> None:
    async with EventLog.open(database.dsn, stream, 100) as log:
        await log.own()
        await log.move((await log.read()).position)


def recycle(conn: psycopg.Connection, hours: float) -> list[int]:
    [(slots,)] = conn.execute("select bridge.recycle(%s * interval '1 hour')", [hours]).fetchall()
    return list(slots)


def remaining(conn: psycopg.Connection) -> set[int]:
    return {row[0] for row in conn.execute("select slot from bridge.event")}


async def test_old_delivered_slots_are_truncated(database: Database, conn: psycopg.Connection) -> None:
    for age in range(8):
        record(conn, age)
    await deliver(database)
    assert recycle(conn, 24) == [slot(7)]
    assert recycle(conn, 8) == [slot(3), slot(4), slot(5), slot(6)]
    assert remaining(conn) == {slot(0), slot(1), slot(2)}


async def test_a_slot_with_an_undelivered_event_is_never_truncated(
    database: Database, conn: psycopg.Connection
) -> None:
    record(conn, 7)
    assert recycle(conn, 0) == []
    await deliver(database)
    assert recycle(conn, 0) == [slot(7)]


async def test_a_slot_is_kept_for_the_slowest_stream(database: Database, conn: psycopg.Connection) -> None:
    conn.execute("select bridge.watch('bulk', 'item', 'shop.touch', stream => 'bulk')")
    record(conn, 7)
    record(conn, 7, "bulk")
    await deliver(database)
    assert recycle(conn, 0) == []
    await deliver(database, "bulk")
    assert recycle(conn, 0) == [slot(7)]


async def test_the_slot_that_is_written_now_stays(database: Database, conn: psycopg.Connection) -> None:
    conn.execute("insert into item values (1)")
    await deliver(database)
    assert recycle(conn, 0) == []
    assert remaining(conn) == {slot(0)}


async def test_a_transaction_that_still_writes_into_an_old_slot_keeps_it(
    database: Database, conn: psycopg.Connection
) -> None:
    record(conn, 7)
    await deliver(database)
    with closing(psycopg.connect(database.dsn)) as writer:
        record(writer, 7)
        assert recycle(conn, 0) == []
        writer.commit()
    assert recycle(conn, 0) == []
    await deliver(database)
    assert recycle(conn, 0) == [slot(7)]


@pytest.mark.parametrize("hours", [-1, 25])
async def test_a_retention_that_the_ring_cannot_hold_is_refused(conn: psycopg.Connection, hours: float) -> None:
    with pytest.raises(psycopg.Error, match="up to 24 hours"):
        recycle(conn, hours)
