"""The order of events of one key: what the bridge promises, and what it can't promise."""

import threading
from collections.abc import Callable

import psycopg
import pytest

from bridge.stream.event_log import EventLog
from tests.eventually import eventually
from tests.fix_postgres import Database

pytestmark = pytest.mark.anyio
UPSERT = "insert into item values (2, 1, 'two') on conflict (id) do update set note = excluded.note"


def prepare(conn: psycopg.Connection, key: str, watched: str = "id") -> None:
    conn.execute(f"create table item (id int {key}, shop int, note text)".encode())
    conn.execute("select bridge.watch('item', 'item', 'shop.touch', key => %s, data => '{note}')", [[watched]])


async def delivered(database: Database) -> list[tuple[str, object]]:
    """Returns operations and new notes, in the order in which they are published."""
    events: list[tuple[str, object]] = []
    async with EventLog.open(database.dsn, "default", 100) as log:
        await log.own()
        while (batch := await log.read()).events:
            events += [(event.op, ((event.data or {}).get("new") or {}).get("note")) for event in batch.events]
            await log.move(batch.position)
    return events


def waits(conn: psycopg.Connection, session: psycopg.Connection) -> Callable[[], bool]:
    pid = session.info.backend_pid
    return lambda: conn.execute("select from pg_locks where not granted and pid = %s", [pid]).fetchone() is not None


@pytest.mark.parametrize("key", ["primary key", "unique not null"])
@pytest.mark.parametrize(
    ("first", "second", "ops"),
    [
        ("update item set note = 'one' where id = 1", "update item set note = 'two' where id = 1", "update,update"),
        ("update item set note = 'one' where id = 1", "delete from item where id = 1", "update,delete"),
        ("delete from item where id = 1", "insert into item values (1, 1, 'two')", "delete,insert"),
        ("insert into item values (2, 1, 'one')", UPSERT, "insert,update"),
        ("update item set id = 3 where id = 1", "insert into item values (1, 1, 'two')", "update,insert"),
    ],
)  # fmt: skip
async def test_changes_of_a_unique_key_are_in_the_order_of_their_commits(
    database: Database, conn: psycopg.Connection, other: psycopg.Connection, key: str, first: str, second: str, ops: str
) -> None:
    """The second writer waits for the first one's commit before its change is recorded, whichever began earlier."""
    prepare(conn, key)
    conn.execute("insert into item values (1, 1, 'none')")
    await delivered(database)
    with database.connect() as later:
        later.execute("begin; select pg_current_xact_id()")
        other.execute(first.encode())
        change = threading.Thread(target=lambda: later.execute(second.encode()))
        change.start()
        assert eventually(waits(conn, later))
        other.commit()
        change.join()
        later.execute("commit")
    assert [op for op, _ in await delivered(database)] == ops.split(",")


async def test_changes_of_a_key_that_is_not_unique_may_be_in_another_order(
    database: Database, conn: psycopg.Connection, other: psycopg.Connection
) -> None:
    """Two rows have one key, so no writer waits for the other. The change recorded first may be committed last."""
    prepare(conn, "primary key", watched="shop")
    conn.execute("insert into item values (1, 7, ''), (2, 7, '')")
    await delivered(database)
    other.execute("update item set note = 'committed second' where id = 1")
    conn.execute("update item set note = 'committed first' where id = 2")
    other.commit()
    assert [note for _, note in await delivered(database)] == ["committed second", "committed first"]


async def test_a_deferrable_key_is_in_the_order_of_the_statements(database: Database, conn: psycopg.Connection) -> None:
    """The new row is inserted while the old one still exists: the last event is the delete, and the row exists."""
    prepare(conn, "primary key deferrable initially deferred")
    conn.execute("insert into item values (1, 1, 'old')")
    await delivered(database)
    conn.execute("begin; insert into item values (1, 1, 'new'); delete from item where note = 'old'; commit")
    assert [op for op, _ in await delivered(database)] == ["insert", "delete"]
    assert conn.execute("select note from item").fetchall() == [("new",)]


@pytest.mark.parametrize("late", [True, False], ids=["after the first look", "before it"])
async def test_a_look_between_two_commits_keeps_the_order_of_a_unique_key(
    database: Database, conn: psycopg.Connection, other: psycopg.Connection, late: bool
) -> None:
    prepare(conn, "primary key")
    conn.execute("insert into item values (1, 1, 'none')")
    await delivered(database)
    other.execute("update item set note = 'one'")
    seen = await delivered(database) if late else []
    other.commit()
    conn.execute("update item set note = 'two'")
    assert [note for _, note in seen + await delivered(database)] == ["one", "two"]
