"""The event log as a relay reads it: windows and positions."""

import random
import threading
from contextlib import closing
from datetime import timedelta

import anyio
import anyio.lowlevel
import psycopg
import pytest

from bridge.call import Refusal
from bridge.database.connect import connect
from bridge.errors import PositionError
from bridge.operations import streams, upkeep
from bridge.operations.dead_letter import Choice, DeadLetters
from bridge.stream.event_log import EventLog
from tests.eventually import eventually
from tests.fix_postgres import Database, on_pg18
from tests.reading import SAME_ID, deliver_all, insert

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("item")]


async def test_committed_events_are_read_once_in_order(database: Database, conn: psycopg.Connection) -> None:
    insert(conn, 3, 1, 2)
    async with EventLog.open(database.dsn, "default", 100) as log:
        await log.own()
        assert await deliver_all(log) == [3, 1, 2]
        assert await deliver_all(log) == []


async def test_reading_goes_on_before_what_was_read_is_settled(database: Database, conn: psycopg.Connection) -> None:
    insert(conn, 1, 2, 3)
    async with EventLog.open(database.dsn, "default", 2) as log:
        await log.own()
        first, second, third = [await log.read() for _ in range(3)]
        assert [[event.key for event in batch.events] for batch in (first, second, third)] == [[[1], [2]], [[3]], []]
        await log.move(first.position)
        insert(conn, 4)
        await log.move(second.position)
        assert await deliver_all(log) == [4]


async def test_what_was_read_and_not_settled_is_read_again_by_the_next_owner(
    database: Database, conn: psycopg.Connection
) -> None:
    insert(conn, 1, 2, 3, 4, 5)
    async with EventLog.open(database.dsn, "default", 2) as log:
        await log.own()
        batches = [await log.read() for _ in range(3)]
        await log.move(batches[0].position)
    async with EventLog.open(database.dsn, "default", 2) as log:
        await log.own()
        assert await deliver_all(log) == [3, 4, 5]


@pytest.mark.parametrize("batches", [1, 2])
async def test_a_window_that_ends_with_a_batch_is_closed_with_it(
    database: Database, conn: psycopg.Connection, batches: int
) -> None:
    insert(conn, *range(2 * batches))
    async with EventLog.open(database.dsn, "default", 2) as log:
        await log.own()
        for left in reversed(range(batches)):
            await log.move((await log.read()).position)
            assert conn.execute("select upto is null from bridge.position").fetchone() == (left == 0,)
        assert not (await log.read()).events


async def test_a_window_of_which_nothing_is_left_is_closed(database: Database, conn: psycopg.Connection) -> None:
    """An earlier version left such a window."""
    insert(conn, 1)
    conn.execute("update bridge.position set upto = pg_current_snapshot(), after_id = (select id from bridge.event)")
    async with EventLog.open(database.dsn, "default", 2) as log:
        await log.own()
        assert not (await log.read()).events
        assert conn.execute("select upto is null from bridge.position").fetchone() == (False,)
        await log.finish()
        assert conn.execute("select upto is null from bridge.position").fetchone() == (True,)


async def test_an_event_that_commits_after_a_later_id_is_not_missed(
    database: Database, conn: psycopg.Connection, other: psycopg.Connection
) -> None:
    insert(other, 1)
    insert(conn, 2)
    async with EventLog.open(database.dsn, "default", 100) as log:
        await log.own()
        assert await deliver_all(log) == [2]
        other.commit()
        assert await deliver_all(log) == [1]


async def test_an_old_transaction_holds_nothing_back_and_is_not_forgotten(
    database: Database, conn: psycopg.Connection, other: psycopg.Connection
) -> None:
    insert(other, 0)
    # A thousand transactions, each with its own snapshot between the old one and now.
    conn.execute("do $$ begin for n in 1..1000 loop insert into item values (n); commit; end loop; end $$")
    async with EventLog.open(database.dsn, "default", 100) as log:
        await log.own()
        assert await deliver_all(log) == list(range(1, 1001))
        conn.execute("do $$ begin for n in 1001..1500 loop insert into item values (n); commit; end loop; end $$")
        assert await deliver_all(log) == list(range(1001, 1501))
        other.commit()
        insert(conn, 1501)
        assert await deliver_all(log) == [0, 1501]


async def test_rolled_back_events_are_never_read(
    database: Database, conn: psycopg.Connection, other: psycopg.Connection
) -> None:
    insert(other, 1)
    async with EventLog.open(database.dsn, "default", 100) as log:
        await log.own()
        insert(conn, 2)
        assert await deliver_all(log) == [2]
        other.rollback()
        assert await deliver_all(log) == []


async def test_a_position_that_somebody_deletes_is_an_outage_of_its_stream(
    database: Database, conn: psycopg.Connection
) -> None:
    insert(conn, *range(3))
    async with EventLog.open(database.dsn, "default", 5) as log:
        await log.own()
        batch = await log.read()
        conn.execute("delete from bridge.position")
        with pytest.raises(PositionError, match="has no row"):
            await log.note_broker("away")
        with pytest.raises(PositionError, match="has no row"):
            await log.move(batch.position)


SETTINGS = [
    "datestyle = 'German'",
    "datestyle = 'SQL, DMY'",
    "intervalstyle = 'iso_8601'",
    "array_nulls = off",
    "statement_timeout = '5ms'",
    "transform_null_equals = on",
    "default_transaction_deferrable = on",
    "enable_indexscan = off",
    "quote_all_identifiers = on",
]


@pytest.mark.parametrize("setting", SETTINGS)
async def test_no_setting_of_a_role_or_database_keeps_the_log_from_being_read(
    database: Database, conn: psycopg.Connection, setting: str
) -> None:
    insert(conn, *range(25))
    conn.execute(SAME_ID.replace("key)", "key, at)").replace("::int))", "::int), 'infinity')").encode(), [2**62, 25])
    conn.execute(f'alter database "{database.name}" set {setting}'.encode())
    async with EventLog.open(database.dsn, "default", 100) as log:
        await log.own()
        batch = await log.read()
        assert [event.key for event in batch.events] == [[n] for n in range(26)]
        await log.bury([Refusal(event, "refused") for event in batch.events])
        await log.note_broker("away")
        await log.note_broker(None)
        await log.move(batch.position)
        assert await deliver_all(log) == []
    async with connect(database.dsn, "catalog") as connection:
        [status] = await streams.status(connection)
        assert (status.waiting, status.dead_letters, status.lag) == (0, 26, timedelta(0))
        assert await streams.waiting(connection, ["default"]) == [("default", 0, None)]
        assert await upkeep.recycle(connection, 3600) == []
        await upkeep.forget(connection, 3600)
    async with DeadLetters.open(database.dsn) as letters:
        assert (await letters.list(Choice(stream="default"), 1))[1] == 26


@pytest.mark.parametrize(("count", "numbers"), [(100, 3), (10, 30), (2, 300)])
async def test_a_batch_of_long_numbers_is_bounded_too(
    database: Database, conn: psycopg.Connection, count: int, numbers: int
) -> None:
    """1e131071 has ten bytes on disk and 131,072 digits as text."""
    value = "jsonb_build_object('n', array_fill(1e131071::numeric, array[%s]))"
    insert_one = (
        f"insert into bridge.event (stream, watch, op, key, data) select 'default', 'item', 'insert', '[1]', {value}"
    )
    conn.execute(f"{insert_one} from generate_series(1, %s)".encode(), [numbers, count])
    async with EventLog.open(database.dsn, "default", 500) as log:
        await log.own()
        read = 0
        while (batch := await log.read()).events:
            assert len(batch.events) == 1 or batch.weight < 2_000_000
            read += len(batch.events)
            await log.move(batch.position)
        assert read == count


@on_pg18
@pytest.mark.soak
async def test_an_event_too_long_for_a_text_is_a_dead_letter_and_the_next_one_is_delivered(
    database: Database, conn: psycopg.Connection
) -> None:
    """Its data is correct, but PostgreSQL can't return it. Without a dead letter the stream would stop forever."""
    long = "insert into bridge.event (stream, watch, op, key, data) select 'default', 'item', 'insert', '[1]', "
    conn.execute(f"{long} jsonb_build_object('n', array_fill(1e131071::numeric, array[8300]))".encode())
    conn.execute(f"{long} jsonb_build_object('n', array_fill(8.25::numeric, array[8300]))".encode())
    insert(conn, 3)
    async with EventLog.open(database.dsn, "default", 500) as log:
        await log.own()
        flaws, keys = [], []
        while (batch := await log.read()).events:
            flaws += [event.flaw for event in batch.events if event.flaw]
            keys += [event.key for event in batch.events if event.key]
            await log.bury([Refusal(event, event.flaw) for event in batch.events if event.flaw])
            await log.move(batch.position)
        assert keys == [[1], [3]]
        assert flaws == ["its values are too long to be read"]
    assert conn.execute("select key from bridge.dead_letter").fetchall() == [([1],)]


async def test_the_position_is_found_again_when_its_row_was_moved(database: Database, conn: psycopg.Connection) -> None:
    async with EventLog.open(database.dsn, "default", 10) as log:
        await log.own()
        conn.execute("update bridge.position set moved_at = now()")
        conn.execute("vacuum full bridge.position")
        insert(conn, 1)
        assert await deliver_all(log) == [1]
        assert await deliver_all(log) == []


async def test_an_outage_of_the_broker_is_noted_until_its_end_also_by_the_next_owner(
    database: Database, conn: psycopg.Connection
) -> None:
    noted = "select broker_error, broker_away_since from bridge.status()"
    kept = "select broker_away_since from bridge.position"
    async with EventLog.open(database.dsn, "default", 10) as log:
        await log.own()
        await log.note_broker("refused")
        assert conn.execute("select broker_error from bridge.status()").fetchone() == ("refused",)
        since = conn.execute(kept).fetchone()
        # The row has moved, and the position moves on from it.
        insert(conn, 1)
        assert await deliver_all(log) == [1]
    nobodys = (None, None)
    assert eventually(lambda: conn.execute(noted).fetchone() == nobodys), "no relay serves the stream"
    async with EventLog.open(database.dsn, "default", 10) as log:
        await log.own()
        await log.note_broker("still refused")
        assert conn.execute(kept).fetchone() == since
        await log.note_broker(None)
        assert conn.execute(noted).fetchone() == nobodys
        version = conn.execute("select xmin from bridge.position").fetchone()
        await log.note_broker(None)
        assert conn.execute("select xmin from bridge.position").fetchone() == version, "written without a change"


def test_no_index_leads_to_positions(conn: psycopg.Connection) -> None:
    """A unique index looks at all row versions that a long transaction keeps, which would slow down moves."""
    assert conn.execute("select from pg_index where indrelid = 'bridge.position'::regclass").fetchall() == []


async def test_streams_are_read_apart(database: Database, conn: psycopg.Connection) -> None:
    conn.execute("select bridge.watch('bulk', 'item', 'shop.touch', stream => 'bulk')")
    insert(conn, 1)
    async with (
        EventLog.open(database.dsn, "default", 10) as default,
        EventLog.open(database.dsn, "bulk", 10) as bulk,
    ):
        await default.own()
        await bulk.own()
        assert [event.watch for event in (await default.read()).events] == ["item"]
        assert [event.watch for event in (await bulk.read()).events] == ["bulk"]


@on_pg18
async def test_concurrent_writers_are_read_exactly_once(database: Database, conn: psycopg.Connection) -> None:
    """The transactions have savepoints and rollbacks, and are read while they run. The ids are not in commit order."""
    seed = random.randrange(2**32)
    committed: list[int] = []
    lock = threading.Lock()

    def write(number: int) -> None:
        dice = random.Random(seed + number)
        with closing(psycopg.connect(database.dsn)) as writer:
            for step in range(60):
                key = number * 1000 + step * 2
                insert(writer, key)
                if dice.random() < 0.3:
                    writer.execute("savepoint s")
                    insert(writer, key + 1)
                    writer.execute("rollback to savepoint s")
                if dice.random() < 0.2:
                    writer.rollback()
                    continue
                writer.commit()
                with lock:
                    committed.append(key)

    threads = [threading.Thread(target=write, args=[number]) for number in range(6)]
    for thread in threads:
        thread.start()
    seen: list[int] = []
    async with EventLog.open(database.dsn, "default", 7) as log:
        await log.own()
        while any(thread.is_alive() for thread in threads):
            seen += await deliver_all(log)
            await anyio.lowlevel.checkpoint()
        seen += await deliver_all(log)
    assert sorted(seen) == sorted(committed), f"seed {seed}"
