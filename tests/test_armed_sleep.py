"""Proves armed sleep: whatever the order of steps, a look sees each committed change or a notification announces it.

The poll floor is an hour here, so it never helps.

The writer's steps are `insert` (capture tries the sleep key) and `commit`. The relay's steps are `look` (its last one
before it sleeps), `ask` for the key, and the looks and sleep that follow. The sessions and the Listener are real. A
step is over when the server shows it (a lock waits, a lock is held), not after some time.
"""

from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import ExitStack, asynccontextmanager, closing
from itertools import permutations

import anyio
import psycopg
import pytest
from psycopg import IsolationLevel

from bridge.stream.event_log import EventLog
from bridge.stream.listener import Listener, Wakeup
from tests.fix_postgres import Database, on_pg18

pytestmark = [pytest.mark.anyio, on_pg18]

HOUR = 3600.0
LEVELS = [IsolationLevel.READ_COMMITTED, IsolationLevel.REPEATABLE_READ, IsolationLevel.SERIALIZABLE]
STATE = """
    select
        coalesce(bool_or(mode = 'ExclusiveLock' and granted), false),
        coalesce(bool_or(mode = 'ExclusiveLock' and not granted), false)
    from pg_locks
    where locktype = 'advisory' and database = (select oid from pg_database where datname = current_database())
        and (classid::bigint << 32 | objid::bigint) = (select sleep_key from bridge.stream where name = 'default')
"""


class Sleeper:
    """The part of a relay that sleeps. At each wake-up it looks, and all that it sees counts as delivered."""

    def __init__(self, listener: Listener, log: EventLog) -> None:
        self._listener = listener
        self._log = log
        self.seen: list[int] = []
        self.wakeups: list[Wakeup] = []

    async def look(self) -> None:
        while (batch := await self._log.read()).events:
            self._listener.disarm()
            self.seen += [event.key[0] for event in batch.events if event.key]
            await self._log.move(batch.position)

    async def run(self) -> None:
        async for wakeup in self._listener:
            self.wakeups.append(wakeup)
            await self.look()


@pytest.fixture(autouse=True)
def item(conn: psycopg.Connection) -> None:
    conn.execute("create table item (id int primary key)")
    conn.execute("select bridge.watch('item', 'item', 'shop.touch')")


@pytest.fixture
def writers(database: Database) -> Iterator[list[psycopg.Connection]]:
    """Yields three sessions. Each begins a transaction with its first statement."""
    with ExitStack() as stack:
        yield [stack.enter_context(closing(psycopg.connect(database.dsn))) for _ in range(3)]


@asynccontextmanager
async def sleeper(database: Database) -> AsyncIterator[Sleeper]:
    async with EventLog.open(database.dsn, "default", 100) as log, Listener.open(database.dsn, "default", HOUR) as it:
        await log.own()
        sleeper = Sleeper(it, log)
        with anyio.fail_after(10):
            assert await anext(it) == "connected"
        await sleeper.look()
        yield sleeper


async def until(true: object, what: str) -> None:
    """Calls `true` until it holds. The server does not announce that a session waits for a lock."""
    assert callable(true)
    with anyio.move_on_after(10):
        while not true():  # noqa: ASYNC110
            await anyio.sleep(0.002)
        return
    raise AssertionError(f"not within 10 s: {what}")


def orders() -> list[tuple[str, ...]]:
    """Returns all orders in which the writer inserts before it commits, and the relay looks before it asks."""
    steps = ("insert", "commit", "look", "ask")
    return [
        o for o in permutations(steps) if o.index("insert") < o.index("commit") and o.index("look") < o.index("ask")
    ]


@pytest.mark.parametrize("others", ["alone", "beside_a_long_writer", "beside_one_that_rolls_back"])
@pytest.mark.parametrize("order", orders(), ids="-".join)
async def test_in_every_order_the_event_is_seen(
    database: Database,
    conn: psycopg.Connection,
    writers: list[psycopg.Connection],
    order: Sequence[str],
    others: str,
) -> None:
    """Tries the isolation levels one after another, each with its own relay and rows."""
    for number, level in enumerate(LEVELS):
        for connection in writers:
            connection.isolation_level = level
        await in_this_order(database, conn, writers, order, others, (number, 100 + number))


async def in_this_order(
    database: Database,
    conn: psycopg.Connection,
    writers: list[psycopg.Connection],
    order: Sequence[str],
    others: str,
    keys: tuple[int, int],
) -> None:
    writer, other, _ = writers
    level = writer.isolation_level
    key, late = keys
    async with sleeper(database) as relay, anyio.create_task_group() as group:
        if others != "alone":
            other.execute("insert into item values (%s)", [late])
        for step in order:
            if step == "insert":
                writer.execute("insert into item values (%s)", [key])
            elif step == "commit":
                writer.commit()
            elif step == "look":
                await relay.look()
            else:
                group.start_soon(relay.run)
                await until(lambda: any(conn.execute(STATE).fetchone() or ()), f"the key is asked for, {level}")
        # The relay sees the event even while a long transaction holds the key, which may delay the grant for hours.
        await until(lambda: relay.seen == [key], f"the event is seen, {level}")
        if others == "beside_a_long_writer":
            other.commit()
            await until(lambda: relay.seen == [key, late], f"the long writer's event is seen, {level}")
        else:
            other.rollback()
        await until(lambda: conn.execute(STATE).fetchone() == (True, False), f"it sleeps again, {level}")
        assert "polled" not in relay.wakeups, level
        group.cancel_scope.cancel()
    await until(lambda: conn.execute(STATE).fetchone() == (False, False), "the key is free for the next one")


@pytest.mark.parametrize("commits", list(permutations(range(3))), ids=lambda order: "".join(map(str, order)))
@pytest.mark.parametrize("asked_after", range(4))
async def test_several_writers_in_every_order_of_commits(
    database: Database,
    conn: psycopg.Connection,
    writers: list[psycopg.Connection],
    asked_after: int,
    commits: Sequence[int],
) -> None:
    """The relay asks after `asked_after` of the three inserts. Later writers fail to get the key and notify."""
    for number, level in enumerate(LEVELS):
        for connection in writers:
            connection.isolation_level = level
        await several_writers(database, conn, writers, asked_after, commits, 10 * number)


async def several_writers(
    database: Database,
    conn: psycopg.Connection,
    writers: list[psycopg.Connection],
    asked_after: int,
    commits: Sequence[int],
    first: int,
) -> None:
    level = writers[0].isolation_level
    async with sleeper(database) as relay, anyio.create_task_group() as group:
        for number, writer in enumerate(writers):
            if number == asked_after:
                group.start_soon(relay.run)
                await until(lambda: any(conn.execute(STATE).fetchone() or ()), f"the key is asked for, {level}")
            writer.execute("insert into item values (%s)", [first + number])
        if asked_after == len(writers):
            group.start_soon(relay.run)
            await until(lambda: any(conn.execute(STATE).fetchone() or ()), f"the key is asked for, {level}")
        for number in commits:
            writers[number].commit()
        await until(lambda: sorted(relay.seen) == [first, first + 1, first + 2], f"all are seen, {level}")
        assert "polled" not in relay.wakeups, level
        group.cancel_scope.cancel()
    await until(lambda: conn.execute(STATE).fetchone() == (False, False), "the key is free for the next one")


@pytest.mark.parametrize("asleep", [False, True], ids=["before_it_asks", "while_it_sleeps"])
async def test_a_savepoint_rolled_back_takes_neither_the_key_nor_the_notification_of_the_rest(
    database: Database, conn: psycopg.Connection, writers: list[psycopg.Connection], asleep: bool
) -> None:
    writer = writers[0]
    async with sleeper(database) as relay, anyio.create_task_group() as group:
        if asleep:
            group.start_soon(relay.run)
            await until(lambda: conn.execute(STATE).fetchone() == (True, False), "it sleeps")
        with writer.transaction():
            with writer.transaction(force_rollback=True):
                writer.execute("insert into item values (1)")
            # The rollback released the first insert's result: the key, or the notification. This insert tries again.
            writer.execute("insert into item values (2)")
            with writer.transaction(force_rollback=True):
                writer.execute("insert into item values (3)")
            if not asleep:
                group.start_soon(relay.run)
                await until(lambda: conn.execute(STATE).fetchone() == (False, True), "the key is asked for")
        await until(lambda: relay.seen == [2], "the event is seen")
        assert "polled" not in relay.wakeups
        group.cancel_scope.cancel()


async def test_a_prepared_transaction_that_may_not_notify_is_seen_by_the_poll_floor(
    database: Database, conn: psycopg.Connection
) -> None:
    conn.execute("select bridge.watch('item', 'item', 'shop.touch', options => '{\"notify\": false}')")
    async with (
        EventLog.open(database.dsn, "default", 100) as log,
        Listener.open(database.dsn, "default", 0.2) as listener,
        anyio.create_task_group() as group,
    ):
        await log.own()
        relay = Sleeper(listener, log)
        group.start_soon(relay.run)
        await until(lambda: conn.execute(STATE).fetchone() == (True, False), "it sleeps")
        conn.execute("begin")
        conn.execute("insert into item values (1)")
        conn.execute("prepare transaction 'two_phase'")
        relay.wakeups.clear()
        await until(lambda: "polled" in relay.wakeups, "it looks while the transaction is prepared")
        assert relay.seen == []
        conn.execute("commit prepared 'two_phase'")
        await until(lambda: relay.seen == [1], "the event is seen")
        assert "notified" not in relay.wakeups
        group.cancel_scope.cancel()
