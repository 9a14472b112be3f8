"""The event log as a relay reads it: windows and positions."""

import random
import threading
from collections.abc import Iterator
from contextlib import closing
from datetime import timedelta

import anyio
import anyio.lowlevel
import psycopg
import pytest

from bridge.call import Refusal
from bridge.database.connect import connect
from bridge.database.statement import statement
from bridge.errors import DatabaseError, PositionError
from bridge.operations import streams, upkeep
from bridge.operations.dead_letter import Choice, DeadLetters
from bridge.stream.event_log import EventLog
from tests.eventually import eventually
from tests.fix_postgres import Database, on_pg18

pytestmark = pytest.mark.anyio


@pytest.fixture(autouse=True)
def item(conn: psycopg.Connection) -> None:
    conn.execute("create table item (id int primary key, note text)")
    conn.execute("select bridge.watch('item', 'item', 'shop.touch')")


@pytest.fixture
def other(database: Database) -> Iterator[psycopg.Connection]:
    with closing(psycopg.connect(database.dsn)) as connection:
        yield connection


def insert(conn: psycopg.Connection, *ids: int) -> None:
    conn.execute("insert into item select unnest(%s::int[])", [list(ids)])


async def deliver_all(log: EventLog) -> list[int]:
    """Delivers all waiting events, moving the position as a relay does. Returns their keys."""
    keys: list[int] = []
    while (batch := await log.read()).events:
        keys += [event.key[0] for event in batch.events if event.key]
        await log.move(batch.position)
    await log.finish()
    return keys


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


SAME_ID = """
insert into bridge.event (id, stream, watch, op, key)
values (%s, 'default', 'item', 'insert', jsonb_build_array(%s::int))
"""


@pytest.mark.parametrize("ids", [(7, 7, 7, 7, 7), (1, 7, 7, 8, 9), (1, 2, 7, 7, 7, 8), (-(2**63), 7, 7)])
@pytest.mark.parametrize("size", [1, 2, 3])
async def test_events_that_have_one_id_are_all_read_wherever_a_batch_ends(
    database: Database, conn: psycopg.Connection, ids: tuple[int, ...], size: int
) -> None:
    """A failover, or the retry of a dead letter, gives an id twice.

    A batch that ends between the two events must not treat the second one as delivered, neither in this session nor
    after a takeover.
    """
    for key, number in enumerate(ids):
        conn.execute(SAME_ID, [number, key])
    async with EventLog.open(database.dsn, "default", size) as log:
        await log.own()
        assert sorted(set(await deliver_all(log))) == list(range(len(ids)))
    conn.execute("truncate bridge.event")
    for key, number in enumerate(ids):
        conn.execute(SAME_ID, [number, key])
    delivered = set()
    for _ in ids:
        # Each session delivers a few batches and dies.
        async with EventLog.open(database.dsn, "default", size) as log:
            await log.own()
            for _ in range(len(ids)):
                batch = await log.read()
                delivered |= {event.key[0] for event in batch.events if event.key}
                await log.move(batch.position)
                if len(batch.events) == 0 or len(delivered) % 2:
                    break
    async with EventLog.open(database.dsn, "default", size) as log:
        await log.own()
        delivered |= set(await deliver_all(log))
    assert delivered == set(range(len(ids)))


@pytest.mark.parametrize("size", [1, 2, 3])
async def test_events_with_the_smallest_id_of_all_are_all_read(
    database: Database, conn: psycopg.Connection, size: int
) -> None:
    """An `after_id` below this id does not exist."""
    ids = (-(2**63), -(2**63), -(2**63), 7, 8, 9)
    for key, number in enumerate(ids):
        conn.execute(SAME_ID, [number, key])
    delivered = []
    for _ in ids:
        # Each session delivers two batches and dies.
        async with EventLog.open(database.dsn, "default", size) as log:
            await log.own()
            for _ in range(2):
                batch = await log.read()
                delivered += [event.key[0] for event in batch.events if event.key]
                await log.move(batch.position)
    async with EventLog.open(database.dsn, "default", size) as log:
        await log.own()
        assert sorted({*delivered, *await deliver_all(log)}) == list(range(len(ids)))


async def test_events_with_one_id_are_all_read_when_the_log_is_rewritten_meanwhile(
    database: Database, conn: psycopg.Connection
) -> None:
    """CLUSTER reorders the rows between the look and the walk. The walk repeats as much as it must."""
    for key in range(4):
        conn.execute(SAME_ID, [7, key])
    conn.execute("create function back(key jsonb) returns int immutable language sql return -(key->>0)::int")
    async with EventLog.open(database.dsn, "default", 1) as log:
        await log.own()
        first = await log.read()
        for slot in range(8):
            conn.execute(f"create index turned_{slot} on bridge.event_{slot} (back(key))".encode())
            conn.execute(f"cluster bridge.event_{slot} using turned_{slot}".encode())
        await log.move(first.position)
        assert [event.key for event in first.events] == [[0]]
        assert sorted(await deliver_all(log)) == [0, 1, 2, 3]


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
