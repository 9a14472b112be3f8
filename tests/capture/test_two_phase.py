"""PREPARE TRANSACTION: PostgreSQL refuses it for a transaction that has notified."""

from collections.abc import Iterator

import psycopg
import pytest

from tests.capture.log import recorded, watch
from tests.fix_postgres import Database, on_pg18

pytestmark = on_pg18


@pytest.fixture(autouse=True)
def product(conn: psycopg.Connection) -> Iterator[None]:
    conn.execute("create table product (id int primary key)")
    yield
    # A prepared transaction outlives its session, and the database can't be dropped before the transaction ends.
    for (gid,) in conn.execute("select gid from pg_prepared_xacts where database = current_database()").fetchall():
        conn.execute(f"rollback prepared '{gid}'".encode())


@pytest.fixture
def sleeper(database: Database) -> Iterator[None]:
    """Holds the sleep key like a sleeping relay, so that writers notify."""
    with database.connect() as connection:
        connection.execute("select pg_advisory_lock(sleep_key) from bridge.stream")
        yield


def prepare(conn: psycopg.Connection, gid: str) -> None:
    conn.execute("begin")
    conn.execute("insert into product values (1)")
    conn.execute(f"prepare transaction '{gid}'".encode())


@pytest.mark.parametrize(("end", "events"), [("commit", [("insert", [1])]), ("rollback", [])])
def test_a_prepared_transaction_is_recorded_when_it_is_committed(
    database: Database, conn: psycopg.Connection, sleeper: None, end: str, events: list[tuple[str, list[int]]]
) -> None:
    watch(conn, "product", options={"notify": False})
    prepare(conn, database.name)
    assert recorded(conn) == []
    conn.execute(f"{end} prepared '{database.name}'".encode())
    assert recorded(conn) == events
    assert conn.execute("select count(*) from bridge.waiting").fetchone() == (len(events),)


def test_without_the_option_prepare_works_while_nobody_sleeps(database: Database, conn: psycopg.Connection) -> None:
    watch(conn, "product")
    prepare(conn, database.name)
    conn.execute(f"commit prepared '{database.name}'".encode())
    assert recorded(conn) == [("insert", [1])]


def test_without_the_option_prepare_is_refused_while_the_relay_sleeps(
    database: Database, conn: psycopg.Connection, sleeper: None
) -> None:
    watch(conn, "product")
    with pytest.raises(
        psycopg.Error, match="cannot PREPARE a transaction that has executed LISTEN, UNLISTEN, or NOTIFY"
    ):
        prepare(conn, database.name)
    assert recorded(conn) == []
    assert conn.execute("select count(*) from product").fetchone() == (0,)


def test_with_the_option_nobody_is_woken(conn: psycopg.Connection, sleeper: None) -> None:
    watch(conn, "product", options={"notify": False})
    conn.execute('listen "bridge:default"')
    conn.execute("insert into product values (1)")
    assert list(conn.notifies(timeout=0)) == []
    watch(conn, "product")
    conn.execute("insert into product values (2)")
    assert [notify.channel for notify in conn.notifies(timeout=5, stop_after=1)] == ["bridge:default"]
