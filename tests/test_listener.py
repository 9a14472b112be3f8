"""The listener: armed sleep, wake-ups, the poll floor."""

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, closing

import anyio
import psycopg
import pytest

from bridge.errors import DatabaseError, NotReadyError
from bridge.stream.listener import Listener, Wakeup
from tests.fix_postgres import Database

pytestmark = pytest.mark.anyio


@pytest.fixture(autouse=True)
def item(conn: psycopg.Connection) -> None:
    conn.execute("create table item (id int primary key)")
    conn.execute("select bridge.watch('item', 'item', 'shop.touch')")


@pytest.fixture
def writer(database: Database) -> Iterator[psycopg.Connection]:
    """Yields a transaction that stays open until the test commits it."""
    with closing(psycopg.connect(database.dsn)) as connection:
        yield connection


@asynccontextmanager
async def listening(database: Database, floor: float = 30) -> AsyncIterator[Listener]:
    async with Listener.open(database.dsn, "default", floor) as listener:
        assert await next_wakeup(listener) == "connected"
        yield listener


async def next_wakeup(listener: Listener) -> Wakeup:
    with anyio.fail_after(10):
        return await anext(listener)


async def until(conn: psycopg.Connection, query: str) -> None:
    with anyio.fail_after(10):
        while not conn.execute(query).fetchall():  # noqa: ASYNC110 - the server announces no lock waits
            await anyio.sleep(0.005)


# Other tests hold locks in other databases.
OURS = "locktype = 'advisory' and database = (select oid from pg_database where datname = current_database())"
WAITING = f"select from pg_locks where {OURS} and not granted"
NOBODY_WAITS = f"select where not exists ({WAITING})"
GONE = f"select where not exists (select from pg_locks where {OURS})"


async def test_a_commit_wakes_a_sleeper(database: Database, conn: psycopg.Connection) -> None:
    async with listening(database) as listener:
        assert await next_wakeup(listener) == "armed"
        conn.execute("insert into item values (1)")
        assert await next_wakeup(listener) == "notified"
        assert await next_wakeup(listener) == "armed"


async def test_nobody_is_notified_while_nobody_sleeps(database: Database, conn: psycopg.Connection) -> None:
    with closing(database.connect()) as eavesdropper:
        eavesdropper.execute('listen "bridge:default"')
        conn.execute("insert into item values (1)")
        async with listening(database) as listener:
            conn.execute("insert into item values (2)")
            assert list(eavesdropper.notifies(timeout=0)) == []
            assert await next_wakeup(listener) == "armed"
            conn.execute("insert into item values (3)")
            assert len(list(eavesdropper.notifies(timeout=5, stop_after=1))) == 1


async def test_a_writer_in_flight_delays_the_grant_until_its_commit(
    database: Database, conn: psycopg.Connection, writer: psycopg.Connection
) -> None:
    """So the look after the grant sees the writer's event, although the writer has not notified."""
    writer.execute("insert into item values (1)")
    async with listening(database) as listener, anyio.create_task_group() as group:

        async def commit_when_it_waits() -> None:
            await until(conn, WAITING)
            writer.commit()

        group.start_soon(commit_when_it_waits)
        assert await next_wakeup(listener) == "armed"
    assert conn.execute("select key from bridge.waiting").fetchall() == [([1],)]


async def test_a_long_writer_does_not_silence_the_others(
    database: Database, conn: psycopg.Connection, writer: psycopg.Connection
) -> None:
    """While the relay waits for the grant, other writers fail to get the key and notify."""
    writer.execute("insert into item values (1)")
    async with listening(database) as listener, anyio.create_task_group() as group:

        async def insert_when_it_waits() -> None:
            await until(conn, WAITING)
            conn.execute("insert into item values (2)")

        group.start_soon(insert_when_it_waits)
        assert await next_wakeup(listener) == "notified"
        # The relay no longer waits for the key: while it is awake, writers need not notify.
        await until(conn, NOBODY_WAITS)
        writer.commit()
        assert await next_wakeup(listener) == "armed"


async def test_a_rolled_back_writer_wakes_nobody(
    database: Database, conn: psycopg.Connection, writer: psycopg.Connection
) -> None:
    async with listening(database) as listener:
        assert await next_wakeup(listener) == "armed"
        writer.execute("insert into item values (1)")
        writer.rollback()
        conn.execute("insert into item values (2)")
        assert await next_wakeup(listener) == "notified"
        assert conn.execute("select key from bridge.waiting").fetchall() == [([2],)]


async def test_the_poll_floor_ends_a_sleep(database: Database) -> None:
    async with listening(database, floor=0.05) as listener:
        assert await next_wakeup(listener) == "armed"
        assert await next_wakeup(listener) == "polled"


async def test_the_poll_floor_ends_the_wait_for_a_long_writer_too(
    database: Database, writer: psycopg.Connection
) -> None:
    writer.execute("insert into item values (1)")
    async with listening(database, floor=0.05) as listener:
        assert await next_wakeup(listener) == "asked"
        assert await next_wakeup(listener) == "polled"
        assert await next_wakeup(listener) == "polled"
        writer.commit()
        assert await next_wakeup(listener) == "armed"


async def test_it_stays_armed_when_it_polls(database: Database, conn: psycopg.Connection) -> None:
    async with listening(database, floor=0.05) as listener:
        assert await next_wakeup(listener) == "armed"
        assert await next_wakeup(listener) == "polled"
        conn.execute("insert into item values (1)")
        assert await next_wakeup(listener) == "notified"


async def test_it_does_not_stay_armed_when_there_was_something(database: Database, conn: psycopg.Connection) -> None:
    async with listening(database, floor=0.05) as listener:
        assert await next_wakeup(listener) == "armed"
        assert await next_wakeup(listener) == "polled"
        listener.disarm()
        await until(conn, GONE)
        assert await next_wakeup(listener) == "armed"


async def test_a_cancelled_sleep_leaves_no_lock(database: Database, conn: psycopg.Connection) -> None:
    async with listening(database) as listener:
        assert await next_wakeup(listener) == "armed"
        with anyio.move_on_after(0.05):
            await anext(listener)
    await until(conn, GONE)


async def test_a_terminated_backend_is_an_error_and_not_silence(database: Database, conn: psycopg.Connection) -> None:
    async with listening(database) as listener:
        assert await next_wakeup(listener) == "armed"
        conn.execute(
            "select pg_terminate_backend(pid) from pg_stat_activity where application_name = 'bridge listen default'"
        )
        with pytest.raises(Exception, match=r"terminat|closed"):
            await next_wakeup(listener)


async def test_a_notification_queue_that_fills_up_is_told_once(
    database: Database, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("bridge.stream.listener._FULL", -1.0)
    async with listening(database, floor=0.05) as listener:
        for _ in range(6):
            await next_wakeup(listener)
    assert [record.levelname for record in caplog.records if "queue fills up" in record.message] == ["WARNING"]


async def test_a_listener_that_cannot_begin_says_why_in_one_error(database: Database, conn: psycopg.Connection) -> None:
    """The relay would not recognize its own error in a group of errors, and the process would end."""
    conn.execute("drop schema bridge cascade")
    with pytest.raises(NotReadyError, match="is Commit Bridge installed"):
        async with Listener.open(database.dsn, "default", 30):
            pass


async def test_an_error_of_whoever_uses_it_leaves_as_it_is(database: Database) -> None:
    with pytest.raises(DatabaseError, match="mine"):
        async with listening(database):
            raise DatabaseError("mine")
