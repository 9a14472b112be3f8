"""TRUNCATE leaves one event without a key."""

import psycopg
import pytest

from tests.capture.log import ROWS, recorded, watch, watches


@pytest.fixture(autouse=True)
def product(conn: psycopg.Connection) -> None:
    conn.execute("create table product (id int primary key)")
    conn.execute("create table review (id int primary key, product int references product)")


@ROWS
def test_truncate_leaves_one_event_without_key_whatever_it_removed(conn: psycopg.Connection, rows: int) -> None:
    watch(conn, "review", operations=["delete", "truncate"], data=["product"], condition="old.id > 7")
    conn.execute("insert into review select n from generate_series(1, %s) n", [rows])
    conn.execute("truncate review")
    assert conn.execute("select op, key, data from bridge.event").fetchall() == [("truncate", None, None)]


def test_truncate_is_not_among_the_default_operations(conn: psycopg.Connection) -> None:
    watch(conn, "review")
    conn.execute("truncate review")
    assert recorded(conn) == []


def test_truncate_cascade_is_recorded_for_each_table_that_it_empties(conn: psycopg.Connection) -> None:
    watch(conn, "product", "parent", operations=["truncate"])
    watch(conn, "review", "child", operations=["truncate"])
    conn.execute("truncate product cascade")
    assert sorted(watches(conn)) == ["child", "parent"]


def test_truncate_of_several_tables_is_recorded_for_each(conn: psycopg.Connection) -> None:
    watch(conn, "product", "parent", operations=["truncate"])
    watch(conn, "review", "child", operations=["truncate"])
    conn.execute("truncate product, review restart identity")
    assert sorted(watches(conn)) == ["child", "parent"]


def test_truncate_that_is_rolled_back_leaves_no_event(conn: psycopg.Connection) -> None:
    watch(conn, "review", operations=["truncate"])
    with conn.transaction(force_rollback=True):
        conn.execute("truncate review")
    assert recorded(conn) == []


@pytest.fixture
def sale(conn: psycopg.Connection) -> None:
    conn.execute("create table sale (id int) partition by range (id)")
    conn.execute("create table sale_1 partition of sale for values from (1) to (10)")
    conn.execute("create table sale_2 partition of sale for values from (10) to (20)")


@pytest.mark.usefixtures("sale")
def test_truncate_of_a_partitioned_table_is_one_event(conn: psycopg.Connection) -> None:
    watch(conn, "sale", key=["id"], operations=["truncate"])
    conn.execute("truncate sale")
    assert recorded(conn) == [("truncate", None)]


@pytest.mark.usefixtures("sale")
def test_truncate_of_one_partition_is_recorded_by_a_watch_on_that_partition(conn: psycopg.Connection) -> None:
    """PostgreSQL does not fire the triggers of the partitioned table."""
    watch(conn, "sale", "whole", key=["id"], operations=["truncate"])
    watch(conn, "sale_1", "part", key=["id"], operations=["truncate"])
    conn.execute("truncate sale_1")
    assert watches(conn) == ["part"]
    conn.execute("truncate sale")
    assert sorted(watches(conn)) == ["part", "part", "whole"]
