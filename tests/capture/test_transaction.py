"""Only what is committed is recorded: rollbacks, savepoints, isolation levels."""

import threading

import psycopg
import pytest

from tests.capture.log import carried, each, recorded, watch
from tests.eventually import eventually
from tests.fix_postgres import Database

LEVELS = pytest.mark.parametrize("level", ["read committed", "repeatable read", "serializable"])


@pytest.fixture(autouse=True)
def product(conn: psycopg.Connection) -> None:
    conn.execute("create table product (id int primary key, price int default 0)")
    watch(conn, "product", data=["price"])


def waiting(conn: psycopg.Connection) -> list[int]:
    """Returns the keys of the events that are not delivered yet, in the order of the log."""
    return [row[0][0] for row in conn.execute("select key from bridge.waiting order by id")]


def test_a_rolled_back_change_leaves_no_event(conn: psycopg.Connection) -> None:
    with conn.transaction(force_rollback=True):
        conn.execute("insert into product values (1)")
        assert recorded(conn) == [("insert", [1])]
    assert recorded(conn) == []


def test_a_statement_that_fails_half_way_leaves_no_event(conn: psycopg.Connection) -> None:
    with pytest.raises(psycopg.errors.DivisionByZero):
        conn.execute("insert into product select n, 1 / (3 - n) from generate_series(1, 5) n")
    assert recorded(conn) == []


def test_events_of_a_transaction_are_invisible_until_it_commits(database: Database, conn: psycopg.Connection) -> None:
    with database.connect() as other, conn.transaction():
        conn.execute("insert into product values (1)")
        assert recorded(other) == []
    assert recorded(conn) == [("insert", [1])]


def test_a_savepoint_that_is_rolled_back_takes_its_events_along(conn: psycopg.Connection) -> None:
    with conn.transaction():
        conn.execute("insert into product values (1)")
        with conn.transaction(force_rollback=True):
            conn.execute("insert into product values (2)")
            with conn.transaction():
                conn.execute("insert into product values (3)")
        conn.execute("insert into product values (4)")
    assert recorded(conn) == [("insert", [1]), ("insert", [4])]


def test_a_savepoint_that_is_released_keeps_its_events(conn: psycopg.Connection) -> None:
    with conn.transaction():
        for n in range(1, 101):  # more subtransactions than PostgreSQL keeps in shared memory
            with conn.transaction():
                conn.execute("insert into product values (%s)", [n])
    assert recorded(conn) == each("insert", 100)
    assert conn.execute("select count(distinct xid) from bridge.event").fetchone() == (1,)


def test_an_exception_block_in_plpgsql_takes_only_its_own_events_along(conn: psycopg.Connection) -> None:
    conn.execute(
        """
        do $$ begin
            insert into product values (1);
            begin
                insert into product values (2);
                insert into product values (1);
            exception when unique_violation then
                insert into product values (3);
            end;
        end $$
        """
    )
    assert recorded(conn) == [("insert", [1]), ("insert", [3])]


@LEVELS
def test_every_isolation_level_records_the_same(conn: psycopg.Connection, level: str) -> None:
    with conn.transaction():
        conn.execute(f"set transaction isolation level {level}".encode())
        conn.execute("insert into product values (1)")
        conn.execute("update product set price = 1")
        conn.execute("delete from product")
    assert recorded(conn) == [("insert", [1]), ("update", [1]), ("delete", [1])]


@pytest.mark.parametrize("level", ["repeatable read", "serializable"])
def test_a_serialization_failure_that_is_tried_again_leaves_one_event(
    database: Database, conn: psycopg.Connection, level: str
) -> None:
    conn.execute("insert into product values (1)")
    conn.execute("truncate bridge.event")
    add = b"update product set price = price + 1"
    with database.connect() as other:
        conn.execute(f"begin isolation level {level}".encode())
        conn.execute("select * from product")
        other.execute(add)
        with pytest.raises(psycopg.errors.SerializationFailure):
            conn.execute(add)
        conn.execute("rollback")
        conn.execute(add)
    assert [data["new"]["price"] for data in carried(conn)] == [1, 2]


def test_a_serializable_write_skew_leaves_the_events_of_the_winner(
    database: Database, conn: psycopg.Connection
) -> None:
    total = "insert into product select %s, count(*) from product"
    with database.connect() as other:
        conn.execute("begin isolation level serializable")
        other.execute("begin isolation level serializable")
        conn.execute(total.encode(), [1])
        other.execute(total.encode(), [2])
        other.execute("commit")
        with pytest.raises(psycopg.errors.SerializationFailure):
            conn.execute("commit")
    assert recorded(conn) == [("insert", [2])]


def test_an_update_that_waited_for_another_one_carries_what_it_found(
    database: Database, conn: psycopg.Connection
) -> None:
    conn.execute("insert into product values (1)")
    add = b"update product set price = price + 1"
    waits = "select from pg_locks where locktype = 'transactionid' and not granted"
    with database.connect() as first, database.connect() as second:
        first.execute("begin")
        first.execute(add)
        thread = threading.Thread(target=second.execute, args=[add])
        thread.start()
        try:
            assert eventually(lambda: bool(conn.execute(waits).fetchall()))
        finally:
            first.execute("commit")
            thread.join()
    changes = [(data["old"]["price"], data["new"]["price"]) for data in carried(conn)[1:]]
    assert changes == [(0, 1), (1, 2)]


@pytest.mark.parametrize("valid", [True, False])
def test_a_deferred_constraint_decides_at_the_commit(conn: psycopg.Connection, valid: bool) -> None:
    conn.execute(
        "create table review (id int primary key, product int references product deferrable initially deferred)"
    )
    watch(conn, "review", "reviews")
    conn.execute("begin")
    conn.execute("insert into review values (5, 1)")
    if valid:
        conn.execute("insert into product values (1)")
        conn.execute("commit")
        assert recorded(conn) == [("insert", [5]), ("insert", [1])]
    else:
        with pytest.raises(psycopg.errors.ForeignKeyViolation):
            conn.execute("commit")
        assert recorded(conn) == []


def test_an_asynchronous_commit_is_recorded_like_any_other(conn: psycopg.Connection) -> None:
    conn.execute("set synchronous_commit = off")
    conn.execute("insert into product values (1)")
    assert waiting(conn) == [1]


def test_a_long_transaction_beside_short_ones_holds_nothing_back(database: Database, conn: psycopg.Connection) -> None:
    with database.connect() as slow:
        slow.execute("begin")
        slow.execute("insert into product values (1)")
        conn.execute("insert into product values (2)")
        conn.execute("insert into product values (3)")
        assert waiting(conn) == [2, 3]
        conn.execute("update bridge.position set seen = pg_current_snapshot()")
        assert waiting(conn) == []
        slow.execute("commit")
    assert waiting(conn) == [1]
