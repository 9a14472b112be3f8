"""Columns that change under a watch: it goes on, or PostgreSQL refuses the change and names what is in the way."""

from typing import Any

import psycopg
import pytest

from tests.capture.log import carried, drift, mend, recorded, watch
from tests.fix_postgres import Database

USED: dict[str, Any] = {"key": ["id"], "columns": ["price"], "data": ["name"], "condition": "new.state is null"}
COLUMNS = pytest.mark.parametrize("column", ["id", "price", "name", "state"])


@pytest.fixture(autouse=True)
def product(conn: psycopg.Connection) -> None:
    conn.execute("create table product (id int primary key, price int, name text, state text, unused int)")
    conn.execute("insert into product values (1, 1, 'a')")


def refused(conn: psycopg.Connection, change: str) -> str:
    """Why PostgreSQL refuses it; empty if it does not."""
    try:
        conn.execute(change.encode())
    except psycopg.Error as error:
        return f"{error.diag.message_primary} {error.diag.message_detail}"
    return ""


@pytest.mark.parametrize(
    "change",
    [
        "add column size int",
        "add column size int default 7",
        "add column size int default random() * 10 not null",
        "add column size int generated always as (1) stored",
        "add column size int generated always as identity",
        "alter column unused type bigint",
        "alter column unused set default 7",
        "alter column unused set not null",
        "drop column unused",
        "alter column price set default 7",
        "alter column price set not null",
        "alter column name set storage external",
        "add constraint cheap check (price < 100)",
        "add unique (name)",
    ],
)
def test_changes_beside_the_watch_work_or_name_what_is_in_the_way(conn: psycopg.Connection, change: str) -> None:
    """PostgreSQL 15.20 and its siblings refuse to rewrite rows of a type that a parsed function reads."""
    conn.execute("update product set unused = 1")
    watch(conn, "product", **USED)
    reason = refused(conn, f"alter table product {change}")
    assert not reason or "function bridge." in reason
    conn.execute("update product set price = 5")
    assert recorded(conn) == [("update", [1])]
    assert drift(conn) == []


@COLUMNS
def test_a_renamed_column_goes_on_working_and_is_drift(conn: psycopg.Connection, column: str) -> None:
    mend(conn, **USED)
    conn.execute(f"alter table product rename {column} to other".encode())
    conn.execute(f"update product set {'other' if column == 'price' else 'price'} = 5".encode())
    conn.execute("insert into product values (2, 5, 'b')")
    assert recorded(conn) == [("update", [1]), ("insert", [2])]
    assert carried(conn)[1] == {"new": {"name": "b"}}
    assert drift(conn) == ["w"]
    renamed = {
        parameter: use.replace(column, "other")
        if isinstance(use, str)
        else [name.replace(column, "other") for name in use]
        for parameter, use in USED.items()
    }
    assert mend(conn, **renamed) == ["replace"]
    assert drift(conn) == []


def test_a_renamed_primary_key_is_mended_without_a_new_declaration(conn: psycopg.Connection) -> None:
    mend(conn)
    conn.execute("alter table product rename id to number")
    conn.execute("update product set price = 5")
    assert recorded(conn) == [("update", [1])]
    assert (drift(conn), mend(conn), drift(conn)) == (["w"], ["repair"], [])


@COLUMNS
@pytest.mark.parametrize("change", ["drop column {}", "alter column {} type varchar"])
def test_dropping_or_retyping_a_used_column_is_refused(conn: psycopg.Connection, column: str, change: str) -> None:
    watch(conn, "product", **USED)
    reason = refused(conn, "alter table product " + change.format(column))
    assert "_w" in reason
    assert "depend" in reason or "uses its row type" in reason
    conn.execute("update product set price = 5")
    assert recorded(conn) == [("update", [1])]
    assert drift(conn) == []


@COLUMNS
def test_dropping_a_used_column_with_cascade_fails_no_writer_and_is_drift(
    conn: psycopg.Connection, column: str
) -> None:
    mend(conn, **USED)
    conn.execute(f"alter table product drop column {column} cascade".encode())
    conn.execute("update product set unused = 5")
    conn.execute("delete from product")
    assert drift(conn) == ["w"]
    assert mend(conn, key=["unused"]) == ["replace"]
    conn.execute(f"insert into product ({'name' if column == 'id' else 'id'}, unused) values ('3', 7)".encode())
    assert recorded(conn)[-1] == ("insert", [7])
    assert drift(conn) == []


@COLUMNS
def test_a_session_that_captured_before_a_cascade_writes_on_and_captures_no_more(
    database: Database, conn: psycopg.Connection, column: str
) -> None:
    """Its plans are made: they must notice what another session takes away."""
    mend(conn, **{**USED, "operations": ["update", "insert"]})
    for n in range(2, 9):
        conn.execute("insert into product (id, price) values (%s, 1)", [n])
    before = len(recorded(conn))
    with psycopg.connect(database.dsn, autocommit=True) as other:
        other.execute(f"alter table product drop column {column} cascade".encode())
    conn.execute(f"insert into product ({'name' if column == 'id' else 'id'}) values ('20')".encode())
    conn.execute("update product set unused = 5")
    assert len(recorded(conn)) == before == 7
    assert drift(conn) == ["w"]


@COLUMNS
def test_a_used_column_is_retyped_with_the_watch_taken_away_in_the_same_transaction(
    conn: psycopg.Connection, column: str
) -> None:
    watch(conn, "product", **USED)
    with conn.transaction():
        conn.execute("select bridge.unwatch('w')")
        conn.execute(f"alter table product alter column {column} type varchar".encode())
        watch(conn, "product", **USED)
    conn.execute("update product set price = '5'" if column == "price" else "update product set price = 5")
    assert recorded(conn) == [("update", ["1" if column == "id" else 1])]
    assert drift(conn) == []


def test_a_new_column_of_a_watch_on_all_columns_is_drift(conn: psycopg.Connection) -> None:
    mend(conn, options={"call": "event"})
    conn.execute("alter table product add column size int")
    conn.execute("update product set size = 5, price = 5")
    assert drift(conn) == ["w"]
    assert mend(conn, options={"call": "event"}) == ["repair"]
    conn.execute("update product set size = 6, price = 6")
    assert carried(conn) == [{"changed": ["price"]}, {"changed": ["price", "size"]}]


def test_a_dropped_primary_key_is_drift_while_capture_goes_on(conn: psycopg.Connection) -> None:
    mend(conn)
    conn.execute("alter table product drop constraint product_pkey")
    conn.execute("update product set price = 5")
    assert recorded(conn) == [("update", [1])]
    assert drift(conn) == ["w"]
    conn.execute("alter table product add primary key (name)")
    assert mend(conn) == ["repair"]
    conn.execute("update product set price = 6")
    assert recorded(conn)[-1] == ("update", ["a"])


def test_an_enum_may_get_new_values(conn: psycopg.Connection) -> None:
    conn.execute("create type colour as enum ('red')")
    conn.execute("create table car (id int primary key, colour colour)")
    watch(conn, "car", columns=["colour"], data=["colour"], condition="new.colour <> 'red'")
    conn.execute("alter type colour add value 'green'")
    conn.execute("alter type colour rename value 'green' to 'blue'")
    conn.execute("insert into car values (1, 'blue'), (2, 'red')")
    assert carried(conn) == [{"new": {"colour": "blue"}}]
    assert drift(conn) == []


def test_what_a_watch_carries_makes_its_triggers_no_longer(conn: psycopg.Connection) -> None:
    """PostgreSQL reads the text of a WHEN in every statement."""
    length = "select length(pg_get_triggerdef(oid)) from pg_trigger where tgname = 'bridge_update_w'"
    conn.execute("create table short (id int primary key, price int)")
    watch(conn, "short", columns=["price"])
    before = conn.execute(length).fetchall()
    watch(conn, "short", columns=["price"], data=["price"])
    assert conn.execute(length).fetchall() == before
    with pytest.raises(psycopg.errors.DependentObjectsStillExist, match=r"data_w|price"):
        conn.execute("alter table short drop column price")


def test_a_watch_that_carries_less_than_before_leaves_no_function_behind(conn: psycopg.Connection) -> None:
    functions = "select proname from pg_proc where proname like '%\\_w' order by 1"
    conn.execute("create table short (id int primary key, price int)")
    watch(conn, "short", data=["price"])
    watch(conn, "short")
    assert [row[0] for row in conn.execute(functions)] == ["capture_w", "key_w", "rekeyed_w", "uses_w", "uses_w"]
    conn.execute("alter table short drop column price")
    conn.execute("select bridge.unwatch('w')")
    assert conn.execute(functions).fetchall() == []
