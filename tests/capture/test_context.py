"""Settings of the transaction that capture reads: bridge.context and bridge.capture."""

import psycopg
import pytest

from tests.capture.log import recorded, watch


@pytest.fixture(autouse=True)
def product(conn: psycopg.Connection) -> None:
    conn.execute("create table product (id int primary key)")


def contexts(conn: psycopg.Connection) -> list[str | None]:
    return [row[0] for row in conn.execute("select context from bridge.event order by id")]


@pytest.mark.parametrize("context", ['{"user": 7}', "not JSON {", "Ä ' \" \\ %", "x" * 100_000])
def test_the_context_of_the_transaction_travels_with_its_events(conn: psycopg.Connection, context: str) -> None:
    watch(conn, "product")
    with conn.transaction():
        conn.execute("select set_config('bridge.context', %s, true)", [context])
        conn.execute("insert into product values (1)")
    conn.execute("insert into product values (2)")
    assert contexts(conn) == [context, None]


def test_set_local_is_all_that_it_takes(conn: psycopg.Connection) -> None:
    watch(conn, "product", operations=["truncate"])
    with conn.transaction():
        conn.execute("set local bridge.context = 'nightly'")
        conn.execute("truncate product")
    conn.execute("set bridge.context = ''")
    conn.execute("truncate product")
    assert contexts(conn) == ["nightly", None]


def test_the_context_can_change_within_a_transaction(conn: psycopg.Connection) -> None:
    watch(conn, "product")
    with conn.transaction():
        conn.execute("set local bridge.context = 'one'")
        conn.execute("insert into product values (1)")
        with conn.transaction(force_rollback=True):
            conn.execute("set local bridge.context = 'two'")
        conn.execute("insert into product values (2)")
    assert contexts(conn) == ["one", "one"]


@pytest.mark.parametrize("operation", ["insert into product values (1)", "truncate product"])
def test_capture_can_be_switched_off_where_the_watch_allows_it(conn: psycopg.Connection, operation: str) -> None:
    watch(conn, "product", operations=["insert", "truncate"], options={"may_skip": True})
    with conn.transaction():
        conn.execute("set local bridge.capture = off")
        conn.execute(operation.encode())
    assert recorded(conn) == []
    conn.execute("insert into product values (2)")
    assert recorded(conn) == [("insert", [2])]


def test_capture_can_not_be_switched_off_otherwise(conn: psycopg.Connection) -> None:
    watch(conn, "product")
    with conn.transaction():
        conn.execute("set local bridge.capture = off")
        conn.execute("insert into product values (1)")
    assert recorded(conn) == [("insert", [1])]


def test_each_watch_says_for_itself_whether_it_may_be_skipped(conn: psycopg.Connection) -> None:
    watch(conn, "product", "cache", options={"may_skip": True})
    watch(conn, "product", "audit")
    with conn.transaction():
        conn.execute("set local bridge.capture = off")
        conn.execute("insert into product values (1)")
    assert conn.execute("select watch from bridge.event").fetchall() == [("audit",)]


@pytest.mark.parametrize("setting", ["on", "", "false"])
def test_only_the_word_off_switches_capture_off(conn: psycopg.Connection, setting: str) -> None:
    watch(conn, "product", options={"may_skip": True})
    with conn.transaction():
        conn.execute("select set_config('bridge.capture', %s, true)", [setting])
        conn.execute("insert into product values (1)")
    assert recorded(conn) == [("insert", [1])]
