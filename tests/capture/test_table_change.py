"""Tables that are renamed, moved or dropped under a watch, and triggers that somebody changes."""

import psycopg
import pytest

from tests.capture.around import AFTER, BEFORE, write_around
from tests.capture.log import drift, each, mend, recorded, watch
from tests.fix_postgres import Database


@pytest.fixture(autouse=True)
def product(conn: psycopg.Connection) -> None:
    conn.execute("create schema shop")
    conn.execute("create table product (id int primary key, price int)")
    conn.execute("insert into product values (1, 1)")
    mend(conn)


@pytest.mark.parametrize(
    ("change", "now"),
    [("rename to article", "article"), ("set schema shop", "shop.product")],
)
def test_a_renamed_or_moved_table_goes_on_working_and_is_drift(conn: psycopg.Connection, change: str, now: str) -> None:
    conn.execute(f"alter table product {change}".encode())
    conn.execute(f"update {now} set price = 2".encode())
    assert recorded(conn) == [("update", [1])]
    assert drift(conn) == ["w"]
    assert mend(conn, relation=now) == ["repair"]
    assert drift(conn) == []
    conn.execute(f"update {now} set price = 3".encode())
    assert recorded(conn) == [("update", [1])] * 2


def test_a_renamed_schema_goes_on_working_and_is_drift(conn: psycopg.Connection) -> None:
    conn.execute("alter table product set schema shop")
    conn.execute("alter schema shop rename to store")
    conn.execute("update store.product set price = 2")
    assert recorded(conn) == [("update", [1])]
    assert mend(conn, relation="store.product") == ["repair"]


@pytest.mark.parametrize("drop", ["table product", "table product cascade", "schema shop cascade"])
def test_a_watched_table_may_be_dropped_and_is_drift_until_the_watch_is_removed(
    conn: psycopg.Connection, drop: str
) -> None:
    if "schema" in drop:
        conn.execute("alter table product set schema shop")
    conn.execute(f"drop {drop}".encode())
    assert drift(conn) == ["w"]
    assert conn.execute("select bridge.unwatch('w')").fetchone() == (True,)
    assert drift(conn) == []
    assert conn.execute("select count(*) from pg_proc where proname like '%\\_w'").fetchone() == (0,)


def test_a_table_dropped_and_made_again_is_watched_again_by_apply(conn: psycopg.Connection) -> None:
    conn.execute("drop table product")
    conn.execute("create table product (id int primary key)")
    conn.execute("insert into product values (1)")
    assert (drift(conn), mend(conn), drift(conn)) == (["w"], ["replace"], [])
    conn.execute("insert into product values (2)")
    assert recorded(conn) == [("insert", [2])]


def test_a_table_swapped_for_a_copy_is_drift(conn: psycopg.Connection) -> None:
    """Tools that rebuild tables do this: they copy the table and rename both."""
    conn.execute("create table product_new (like product including all)")
    conn.execute("alter table product rename to product_old")
    conn.execute("alter table product_new rename to product")
    assert (drift(conn), mend(conn), drift(conn)) == (["w"], ["replace"], [])
    conn.execute("insert into product values (2)")
    conn.execute("insert into product_old values (3)")
    assert recorded(conn) == [("insert", [2])]


def test_a_table_that_becomes_a_partition_stays_watched(conn: psycopg.Connection) -> None:
    conn.execute("create table whole (id int not null, price int) partition by range (id)")
    conn.execute("alter table whole attach partition product for values from (1) to (10)")
    conn.execute("update whole set price = 2")
    assert recorded(conn) == [("update", [1])]
    assert drift(conn) == []


@pytest.mark.parametrize("state", ["disable", "enable replica", "enable always"])
def test_a_trigger_that_somebody_switches_is_drift(conn: psycopg.Connection, state: str) -> None:
    conn.execute(f"alter table product {state} trigger bridge_update_w".encode())
    assert (drift(conn), mend(conn), drift(conn)) == (["w"], ["repair"], [])
    conn.execute("update product set price = 2")
    assert recorded(conn) == [("update", [1])]


def test_a_renamed_trigger_goes_on_working_and_apply_leaves_one(conn: psycopg.Connection) -> None:
    conn.execute("alter trigger bridge_update_w on product rename to mine")
    conn.execute("update product set price = 2")
    assert (drift(conn), mend(conn), drift(conn)) == (["w"], ["repair"], [])
    conn.execute("update product set price = 3")
    assert recorded(conn) == [("update", [1])] * 2


def test_a_function_that_a_condition_calls_can_not_be_dropped(conn: psycopg.Connection) -> None:
    conn.execute("create function shop.dear(int) returns boolean language sql immutable as 'select $1 > 5'")
    watch(conn, "product", condition="shop.dear(new.price)")
    with pytest.raises(psycopg.errors.DependentObjectsStillExist) as refused:
        conn.execute("drop function shop.dear(int)")
    assert "trigger bridge_update_w" in str(refused.value.diag.message_detail)


def test_a_table_that_changes_hands_stays_watched(conn: psycopg.Connection) -> None:
    role = "pg_monitor"  # any role that exists on every server
    conn.execute(f"alter table product owner to {role}".encode())
    conn.execute(f"set role {role}".encode())
    conn.execute("update product set price = 2")
    conn.execute("reset role")
    assert recorded(conn) == [("update", [1])]
    assert drift(conn) == []


# Each value is the statements, and the name of the table after them.
CHANGES = {
    "set unlogged": ("alter table product set unlogged", "product"),
    "set logged": ("alter table product set unlogged; alter table product set logged", "product"),
    "replica identity": ("alter table product replica identity full", "product"),
    "cluster": ("cluster product using product_pkey", "product"),
    "storage": ("alter table product set (fillfactor = 50), alter price set statistics 7", "product"),
    "truncate": ("truncate product", "product"),
    "primary key": ("alter table product drop constraint product_pkey, add primary key (id)", "product"),
    "inherit": ("create table parent (id int, price int); alter table product inherit parent", "product"),
    "no inherit": (
        "create table parent (id int); alter table product inherit parent; alter table product no inherit parent",
        "product",
    ),
    "of a type": ("create type shape as (id int, price int); alter table product of shape", "product"),
    "row security": ("alter table product enable row level security, force row level security", "product"),
    "identity": ("alter table product alter id add generated by default as identity", "product"),
    "rename": ("alter table product rename to article", "article"),
    "schema": ("alter table product set schema shop", "shop.product"),
    "swap": (
        """
        create table product_new (like product including all);
        alter table product rename to product_old;
        alter table product_new rename to product
        """,
        "product_old",
    ),
    "partition": (
        """
        create table whole (price int, dropped int, id int not null) partition by range (id);
        alter table whole drop column dropped;
        alter table whole attach partition product for values from (minvalue) to (maxvalue)
        """,
        "whole",
    ),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_table_may_change_while_sessions_write(database: Database, conn: psycopg.Connection, change: str) -> None:
    statements, name = CHANGES[change]
    now = "product"

    def write(session: psycopg.Connection, number: int) -> None:
        session.execute(f"insert into {now} (id, price) values ({number}, 1)".encode())
        session.execute(f"update {now} set price = 2 where id = {number}".encode())
        session.execute(f"delete from {now} where id = {number}".encode())

    def make_it(session: psycopg.Connection) -> None:
        nonlocal now
        session.execute(statements.encode())
        now = name

    conn.execute("delete from product")
    conn.execute("select bridge.unwatch('w')")
    watch(conn, "product", data=["price"])

    write_around(database, write, make_it)
    events = [(op, [n]) for n in (BEFORE, *AFTER) for op in ("insert", "update", "delete")]
    assert recorded(conn) == events
    assert drift(conn) == (["w"] if name not in {"product", "whole"} else [])


def test_a_table_that_is_vacuumed_full_stays_watched(conn: psycopg.Connection) -> None:
    conn.execute("update product set price = 2")
    conn.execute("vacuum full product")
    conn.execute("update product set price = 3")
    assert recorded(conn) == each("update", 1) * 2


def test_a_table_without_any_column_left_fails_no_writer(conn: psycopg.Connection) -> None:
    watch(conn, "product", data=["price"])
    conn.execute("alter table product drop id, drop price")
    conn.execute("insert into product default values")
    conn.execute("delete from product")
    found = conn.execute("select op, key, data ->> 'unreadable' from bridge.event order by id").fetchall()
    gone = 'the column "id" of the key is gone'
    assert found == [("insert", [None], gone), ("delete", [None], gone), ("delete", [None], gone)]
    assert drift(conn) == ["w"]
