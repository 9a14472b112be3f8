"""Kinds of tables, and relations that only look like tables."""

import psycopg
import pytest

from tests.capture.log import drift, mend, recorded, watch


@pytest.fixture(autouse=True)
def product(conn: psycopg.Connection) -> None:
    conn.execute("create table product (id int primary key, price int)")


def test_unlogged_tables_are_watched(conn: psycopg.Connection) -> None:
    """PostgreSQL empties such tables after a crash without any event. The log itself is crash-safe."""
    conn.execute("create unlogged table cache (id int primary key)")
    watch(conn, "cache")
    conn.execute("insert into cache values (1)")
    conn.execute("alter table cache set logged")
    conn.execute("alter table cache set unlogged")
    conn.execute("delete from cache")
    assert recorded(conn) == [("insert", [1]), ("delete", [1])]


def test_temporary_tables_are_refused_with_a_reason(conn: psycopg.Connection) -> None:
    conn.execute("create temporary table scratch (id int primary key)")
    with pytest.raises(psycopg.Error, match="temporary table: no other session, such as the task's, can see its rows"):
        watch(conn, "scratch")


@pytest.mark.parametrize(
    "made",
    [
        "create view other as select * from product",
        "create materialized view other as select * from product",
        "create sequence other",
        "create type other as (id int)",
        "create index other on product (price)",
        "create foreign data wrapper w; create server s foreign data wrapper w; create foreign table other () server s",
    ],
)
def test_what_is_not_a_table_is_refused(conn: psycopg.Connection, made: str) -> None:
    conn.execute(made.encode())
    with pytest.raises(psycopg.Error, match="is not a table"):
        watch(conn, "other", key=["id"])


def test_a_table_that_others_inherit_from_is_refused(conn: psycopg.Connection) -> None:
    conn.execute("create table book (pages int) inherits (product)")
    with pytest.raises(psycopg.Error, match="tables that inherit from it, and its triggers do not see their rows"):
        watch(conn, "product")


def test_a_table_that_inherits_is_watched_by_itself(conn: psycopg.Connection) -> None:
    conn.execute("create table book (primary key (id)) inherits (product)")
    watch(conn, "book")
    conn.execute("insert into product values (1)")
    conn.execute("insert into book values (2)")
    conn.execute("update product set price = 7")
    assert recorded(conn) == [("insert", [2]), ("update", [2])]


def test_an_heir_that_comes_after_the_watch_is_drift(conn: psycopg.Connection) -> None:
    mend(conn)
    conn.execute("create table book (pages int) inherits (product)")
    assert drift(conn) == ["w"]
    with pytest.raises(psycopg.Error, match="watch each of them"):
        mend(conn)
    conn.execute("insert into product values (1)")
    assert recorded(conn) == [("insert", [1])]
    conn.execute("drop table book")
    assert drift(conn) == []


def test_create_table_like_copies_no_watch(conn: psycopg.Connection) -> None:
    watch(conn, "product")
    conn.execute("create table copy (like product including all)")
    conn.execute("insert into copy values (1)")
    conn.execute("insert into product values (2)")
    assert recorded(conn) == [("insert", [2])]
    assert drift(conn) == []


def test_row_level_security_hides_nothing_from_capture(conn: psycopg.Connection) -> None:
    watch(conn, "product")
    conn.execute("alter table product enable row level security")
    conn.execute("alter table product force row level security")
    conn.execute("create policy none on product using (false) with check (true)")
    conn.execute("insert into product values (1)")
    assert recorded(conn) == [("insert", [1])]
