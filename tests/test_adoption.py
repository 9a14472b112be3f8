"""Logs restored from elsewhere: another cluster, another copy of this one, ahead of its position and behind it."""

import re
import threading

import anyio
import psycopg
import pytest

from bridge.adoption import Adoption
from bridge.stream.event_log import EventLog
from tests.eventually import eventually
from tests.fix_bridge import Bridges
from tests.fix_broker import Broker
from tests.fix_postgres import Database, on_pg18
from tests.reading import deliver_all, insert
from tests.test_recycle import record, recycle, slot

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("item")]
FAR = 1_000_000  # the number of transactions


def carry(conn: psycopg.Connection, by: int, cluster: int | None = 1) -> None:
    """Changes the log and its position as if they came from a cluster that is `by` transactions ahead of this one.

    `cluster`: None means another copy of this cluster, with one system identifier.
    """
    conn.execute("update bridge.event set xid = (xid::text::bigint + %s)::text::xid8", [by])
    for stream, *snapshots in conn.execute("select stream, seen::text, upto::text from bridge.position").fetchall():
        moved = [s and re.sub(r"\d+", lambda number: str(int(number[0]) + by), s) for s in snapshots]
        conn.execute(
            "update bridge.position set seen = %s, upto = %s, cluster = coalesce(%s, cluster) where stream = %s",
            [*moved, cluster, stream],
        )


async def deliver(database: Database, count: int | None = None, batch_size: int = 100) -> list[int]:
    """Returns the ids that a relay delivers: all that wait, or one batch."""
    async with EventLog.open(database.dsn, "default", count or batch_size) as log:
        await log.own()
        if count is None:
            return await deliver_all(log)
        batch = await log.read()
        await log.move(batch.position)
        return [event.key[0] for event in batch.events if event.key]


def waiting(conn: psycopg.Connection) -> int:
    [(count,)] = conn.execute("select waiting from bridge.status() where stream = 'default'").fetchall()
    return int(count)


def burn(conn: psycopg.Connection, count: int) -> None:
    """Uses up `count` transaction ids."""
    conn.execute(
        f"do $$ begin for n in 1..{count} loop perform pg_current_xact_id(); commit; end loop; end $$".encode()
    )


ELSEWHERE = pytest.mark.parametrize(
    ("by", "cluster"),
    [(FAR, 1), (0, 1), (-300, 1), (FAR, None)],
    ids=["ahead", "pg_upgrade", "behind", "another copy, ahead"],
)


@ELSEWHERE
@pytest.mark.parametrize("batch_size", [2, 100])
async def test_what_waited_is_delivered_once_and_what_was_delivered_is_not(
    database: Database, conn: psycopg.Connection, by: int, cluster: int | None, batch_size: int
) -> None:
    burn(conn, 300)
    insert(conn, 1, 2)
    assert await deliver(database) == [1, 2]
    for n in (3, 4, 5):
        insert(conn, n)
    carry(conn, by, cluster)
    insert(conn, 6)
    assert waiting(conn) == 4
    assert await deliver(database, batch_size=batch_size) == [3, 4, 5, 6]
    insert(conn, 7)
    assert waiting(conn) == 1
    assert await deliver(database) == [7]
    assert await deliver(database) == []


@ELSEWHERE
async def test_a_walk_that_was_under_way_goes_on(
    database: Database, conn: psycopg.Connection, by: int, cluster: int | None
) -> None:
    burn(conn, 300)
    insert(conn, *range(10))
    assert await deliver(database, count=4) == [0, 1, 2, 3]
    insert(conn, 10)
    carry(conn, by, cluster)
    assert waiting(conn) == 7
    assert await deliver(database, batch_size=3) == [4, 5, 6, 7, 8, 9, 10]
    assert await deliver(database) == []


@ELSEWHERE
async def test_an_event_that_was_committed_late_there_is_delivered_here(
    database: Database, conn: psycopg.Connection, other: psycopg.Connection, by: int, cluster: int | None
) -> None:
    """Its id is smaller than the id of a delivered event."""
    burn(conn, 300)
    insert(other, 101)
    insert(conn, 102)
    assert await deliver(database) == [102]
    other.commit()
    carry(conn, by, cluster)
    assert await deliver(database) == [101]


@ELSEWHERE
async def test_writers_at_work_lose_nothing(
    database: Database, conn: psycopg.Connection, other: psycopg.Connection, by: int, cluster: int | None
) -> None:
    """101 is written before the log is adopted and committed after it. 102 is committed in between."""
    burn(conn, 300)
    insert(conn, 1)
    carry(conn, by, cluster)
    insert(other, 101)
    insert(conn, 102)
    async with EventLog.open(database.dsn, "default", 100) as log:
        await log.own()
        assert await deliver_all(log) == [1, 102]
        other.commit()
        insert(conn, 103)
        assert await deliver_all(log) == [101, 103]
        assert await deliver_all(log) == []
    assert conn.execute("select count(*) from bridge.event").fetchone() == (4,)


@on_pg18
async def test_writers_that_never_pause_lose_nothing_while_a_log_is_adopted(
    database: Database, conn: psycopg.Connection
) -> None:
    insert(conn, *range(20_000))
    carry(conn, FAR)
    stop = threading.Event()
    started = threading.Barrier(4)
    written: list[int] = []

    def write(first: int) -> None:
        with database.connect() as writer:
            started.wait()
            for key in range(first, first + 1_000_000):
                insert(writer, key)
                written.append(key)
                if stop.is_set():
                    return

    threads = [threading.Thread(target=write, args=[n * 1_000_000]) for n in (1, 2, 3)]
    for thread in threads:
        thread.start()
    seen: list[int] = []
    async with EventLog.open(database.dsn, "default", 5000) as log:
        started.wait()
        await log.own()
        stop.set()
        seen += await deliver_all(log)
        for thread in threads:
            await anyio.to_thread.run_sync(thread.join)
        seen += await deliver_all(log)
    assert len(written) > 3
    assert sorted(seen) == [*range(20_000), *sorted(written)]


async def test_a_copy_whose_transactions_have_passed_the_position_since_loses_nothing(
    database: Database, conn: psycopg.Connection
) -> None:
    """The copy is restored and written to, and a relay serves it when the foreign ids are no longer in the future."""
    insert(conn, 1)
    assert await deliver(database) == [1]
    insert(conn, 2)
    carry(conn, 200, cluster=None)
    for n in range(3, 20):
        insert(conn, n)
    burn(conn, 300)
    insert(conn, 20)
    assert waiting(conn) == 19
    assert await deliver(database) == list(range(2, 21))


async def test_the_own_position_is_not_taken_for_a_foreign_one(database: Database, conn: psycopg.Connection) -> None:
    """This holds whatever has happened to the row and to the cluster's transactions since the position moved."""
    adopt = "select * from bridge.adopt('default')"
    for step in ("select", "vacuum freeze bridge.position", "vacuum full bridge.position"):
        insert(conn, *conn.execute("select coalesce(max(id), 0) + 1 from item").fetchone() or ())
        await deliver(database)
        burn(conn, 100)
        conn.execute(step.encode())
        assert conn.execute(adopt).fetchall() == []
        async with EventLog.open(database.dsn, "default", 100) as log:
            assert await log.own() is None


async def test_it_is_told_why_a_log_was_adopted_and_what_waits(database: Database, conn: psycopg.Connection) -> None:
    insert(conn, 1, 2)
    carry(conn, FAR)
    async with EventLog.open(database.dsn, "default", 100) as log:
        assert await log.own() == Adoption("it was restored from another cluster", 2)
    carry(conn, FAR, cluster=None)
    async with EventLog.open(database.dsn, "default", 100) as log:
        adopted = await log.own()
        assert adopted is not None
        assert "lies ahead of this server's transactions" in adopted.reason
        assert adopted.waiting == 2


@on_pg18
def test_the_log_of_the_bridge_says_so(
    database: Database, conn: psycopg.Connection, valkey: Broker, run_bridge: Bridges
) -> None:
    conn.execute("insert into item values (1)")
    carry(conn, FAR, cluster=None)
    bridge = run_bridge(database.dsn, broker_url=valkey.url)
    [line] = [line for line in bridge.lines() if line["message"] == "log adopted"]
    assert (line["level"], line["stream"], line["waiting"]) == ("WARNING", "default", 1)
    assert eventually(lambda: waiting(conn) == 0)


async def test_two_who_adopt_at_once_adopt_once(
    database: Database, conn: psycopg.Connection, other: psycopg.Connection
) -> None:
    insert(conn, 1)
    carry(conn, FAR)
    adopt = "select waiting from bridge.adopt('default')"
    assert other.execute(adopt).fetchall() == [(1,)]
    results: list[list[tuple[int]]] = []
    second = threading.Thread(target=lambda: results.append(conn.execute(adopt).fetchall()))
    second.start()
    with database.connect() as watcher:
        blocked = "select from pg_locks where not granted and pid = %s"
        assert eventually(lambda: watcher.execute(blocked, [conn.info.backend_pid]).fetchone() is not None)
    other.commit()
    second.join()
    assert results == [[]]
    assert await deliver(database) == [1]


@ELSEWHERE
async def test_nothing_of_a_restored_log_is_truncated_before_it_is_adopted(
    database: Database, conn: psycopg.Connection, by: int, cluster: int | None
) -> None:
    burn(conn, 300)
    record(conn, 7)
    record(conn, 6)
    carry(conn, by, cluster)
    assert recycle(conn, 0) == []
    assert waiting(conn) == 2
    async with EventLog.open(database.dsn, "default", 100) as log:
        await log.own()
        assert recycle(conn, 0) == []
        assert await deliver_all(log) == [1, 1]
    assert recycle(conn, 0) == [slot(6), slot(7)]


async def test_a_restored_log_keeps_the_slots_of_other_streams_too(conn: psycopg.Connection) -> None:
    """Nobody knows which events wait in the slots until the relay of each stream has adopted its part."""
    conn.execute("select bridge.watch('bulk', 'item', 'shop.touch', stream => 'bulk')")
    record(conn, 7, "bulk")
    conn.execute("update bridge.position set cluster = 1, seen = '1000000:1000000:' where stream = 'bulk'")
    assert recycle(conn, 0) == []


async def test_a_second_position_of_a_stream_does_not_stop_it(database: Database, conn: psycopg.Connection) -> None:
    """A restore of the data alone brings a second position."""
    insert(conn, 1)
    copy = "insert into bridge.position (stream, seen, cluster) values ('default', '1000000:1000000:', 1)"
    conn.execute(copy.encode())
    assert conn.execute("select count(*) from bridge.position").fetchone() == (1,), "a second position must be refused"
    conn.execute("alter table bridge.position disable trigger all")
    conn.execute(copy.encode())
    conn.execute("alter table bridge.position enable trigger all")
    assert await deliver(database) == [1]
    assert conn.execute("select count(*) from bridge.position where cluster <> 1").fetchone() == (1,)
    assert conn.execute("select count(*) from bridge.position").fetchone() == (1,)


@pytest.mark.parametrize("level", ["repeatable read", "serializable"])
@pytest.mark.parametrize("call", ["recycle('0')", "adopt('default')", "set_aside()"])
def test_by_hand_these_refuse_other_isolation_levels_in_one_sentence(
    conn: psycopg.Connection, level: str, call: str
) -> None:
    conn.execute(f"set default_transaction_isolation = '{level}'".encode())
    with pytest.raises(psycopg.Error, match=r"works at the isolation level read committed only, not at "):
        conn.execute(f"select bridge.{call}".encode())


@pytest.mark.soak
@on_pg18
async def test_a_million_restored_events_are_adopted(database: Database, conn: psycopg.Connection) -> None:
    insert(conn, *range(10))
    assert len(await deliver(database)) == 10
    conn.execute("insert into item select n from generate_series(10, 999999) n")
    carry(conn, FAR)
    async with EventLog.open(database.dsn, "default", 5000) as log:
        started = anyio.current_time()
        await log.own()
        assert anyio.current_time() - started < 60
        assert len(await deliver_all(log)) == 999_990
