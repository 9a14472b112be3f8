"""The key of an event identifies the row."""

import psycopg
import pytest

from tests.capture.log import ROWS, carried, recorded, watch


@ROWS
def test_a_changed_primary_key_is_one_event_that_carries_both(conn: psycopg.Connection, rows: int) -> None:
    conn.execute("create table product (id int primary key, price int)")
    conn.execute("insert into product select generate_series(1, 3)")
    watch(conn, "product")
    conn.execute("update product set id = id + 10 where id <= %s", [rows])
    assert recorded(conn) == [("update", [n + 10]) for n in range(1, rows + 1)]
    assert carried(conn) == [{"old_key": [n]} for n in range(1, rows + 1)]


def test_rows_that_swap_their_keys_are_two_events(conn: psycopg.Connection) -> None:
    conn.execute("create table product (id int primary key deferrable)")
    conn.execute("insert into product values (1), (2)")
    watch(conn, "product")
    conn.execute("update product set id = 3 - id")
    assert list(zip(recorded(conn), carried(conn), strict=True)) == [
        (("update", [2]), {"old_key": [1]}),
        (("update", [1]), {"old_key": [2]}),
    ]


def test_a_key_of_several_columns_comes_in_the_order_of_the_key(conn: psycopg.Connection) -> None:
    conn.execute("create table line (number int, note text, invoice text, primary key (invoice, number))")
    watch(conn, "line")
    conn.execute("insert into line values (7, '', 'A-1')")
    assert recorded(conn) == [("insert", ["A-1", 7])]


def test_columns_that_the_primary_key_only_includes_are_not_part_of_it(conn: psycopg.Connection) -> None:
    conn.execute("create table product (id int, name text, primary key (id) include (name))")
    watch(conn, "product")
    conn.execute("insert into product values (1, 'a')")
    conn.execute("update product set name = 'b'")
    assert recorded(conn) == [("insert", [1]), ("update", [1])]
    assert carried(conn) == [None, None]


@pytest.mark.parametrize(
    ("kind", "value", "in_json"),
    [
        ("text", "Ä ' \" \\ %s\t", "Ä ' \" \\ %s\t"),
        ("varchar(3)", "abc", "abc"),
        ("uuid", "A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11", "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"),
        ("bigint", "9223372036854775807", 9223372036854775807),
        ("numeric", "12345678901234567890.10", "12345678901234567890.10"),
        ("date", "2026-02-28", "2026-02-28"),
        ("timestamptz", "2026-02-28 12:00+02", "2026-02-28T10:00:00+00:00"),
        ("bytea", "\\x00ff", "\\x00ff"),
        ("inet", "10.0.0.1", "10.0.0.1"),
        ("int[]", "{1,2}", [1, 2]),
        ("int4range", "[1,2]", "[1,3)"),
    ],
)
def test_a_key_may_have_any_type(conn: psycopg.Connection, kind: str, value: str, in_json: object) -> None:
    conn.execute(f"create table product (id {kind} primary key)".encode())
    watch(conn, "product")
    conn.execute(f"insert into product values (%s::{kind})".encode(), [value])
    assert recorded(conn) == [("insert", [in_json])]


def test_a_watch_may_name_a_key_of_its_own_even_one_with_nulls(conn: psycopg.Connection) -> None:
    conn.execute("create table product (id int primary key, code text)")
    watch(conn, "product", key=["code"])
    conn.execute("insert into product values (1, 'x'), (2, null)")
    conn.execute("update product set code = 'y' where id = 2")
    assert recorded(conn) == [("insert", ["x"]), ("insert", [None]), ("update", ["y"])]
    assert carried(conn)[-1] == {"old_key": [None]}


def test_a_table_without_primary_key_needs_a_key(conn: psycopg.Connection) -> None:
    conn.execute("create table product (code text unique)")
    with pytest.raises(psycopg.Error, match="has no primary key: name the columns that identify a row"):
        watch(conn, "product")
    watch(conn, "product", key=["code"])
    conn.execute("insert into product values ('x')")
    assert recorded(conn) == [("insert", ["x"])]


def test_identity_columns_are_keys_like_others(conn: psycopg.Connection) -> None:
    conn.execute("create table product (id int generated always as identity primary key, price int)")
    watch(conn, "product")
    conn.execute("insert into product (price) values (1), (2)")
    conn.execute("insert into product overriding system value values (77, 3)")
    assert recorded(conn) == [("insert", [1]), ("insert", [2]), ("insert", [77])]
