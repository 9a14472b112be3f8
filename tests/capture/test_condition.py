"""Which changes count (columns, conditions), and what the event says about them."""

from typing import Any

import psycopg
import pytest

from tests.capture.log import carried, recorded, watch, watches
from tests.fix_postgres import Database


@pytest.fixture(autouse=True)
def product(conn: psycopg.Connection) -> None:
    conn.execute("create table product (id int primary key, name text, price int, extra jsonb)")
    conn.execute("insert into product values (1, 'a', 1), (2, 'b', 2)")


def calls(conn: psycopg.Connection, statement: str) -> int:
    """Returns how often one statement calls the capture function of the watch w."""
    with conn.transaction():
        conn.execute("set local track_functions = 'all'")
        conn.execute(statement.encode())
        query = "select coalesce(sum(calls), 0) from pg_stat_xact_user_functions where funcname = 'capture_w'"
        row = conn.execute(query.encode()).fetchone()
        assert row
        return int(row[0])


def test_an_update_of_no_watched_column_does_not_enter_the_function(conn: psycopg.Connection) -> None:
    watch(conn, "product", operations=["update"], columns=["price"])
    assert calls(conn, "update product set name = 'x'") == 0
    assert calls(conn, "update product set price = price, name = 'y'") == 0
    assert calls(conn, "update product set price = 7") == 2
    assert recorded(conn) == [("update", [1]), ("update", [2])]


def test_columns_narrow_only_updates(conn: psycopg.Connection) -> None:
    watch(conn, "product", columns=["price"])
    conn.execute("insert into product (id) values (3)")
    conn.execute("update product set name = 'x'")
    conn.execute("delete from product where id = 3")
    assert recorded(conn) == [("insert", [3]), ("delete", [3])]


def test_an_update_whose_condition_is_false_does_not_enter_the_function(conn: psycopg.Connection) -> None:
    watch(conn, "product", operations=["update"], condition="old.price < 2 and new.price > old.price")
    assert calls(conn, "update product set price = price + 1 where id = 2") == 0
    assert calls(conn, "update product set price = 0 where id = 1") == 0
    assert calls(conn, "update product set price = 5 where id = 1") == 1
    assert recorded(conn) == [("update", [1])]


def test_without_columns_every_update_counts_that_changes_a_value(conn: psycopg.Connection) -> None:
    watch(conn, "product", operations=["update"])
    conn.execute("update product set price = price where id = 1")
    assert recorded(conn) == []
    conn.execute("update product set price = price + 1 where id = 1")
    assert recorded(conn) == [("update", [1])]


def test_with_unchanged_an_update_counts_that_changes_nothing(conn: psycopg.Connection) -> None:
    watch(conn, "product", operations=["update"], options={"unchanged": True})
    conn.execute("update product set price = price where id = 1")
    assert recorded(conn) == [("update", [1])]


@pytest.mark.parametrize(
    ("parameters", "complaint"),
    [({"columns": ["price"]}, "leave one of them out"), ({"operations": ["insert"]}, '"update" is not among')],
)
def test_unchanged_contradicts(conn: psycopg.Connection, parameters: dict[str, Any], complaint: str) -> None:
    with pytest.raises(psycopg.errors.InvalidParameterValue, match=complaint):
        watch(conn, "product", options={"unchanged": True}, **parameters)


@pytest.mark.parametrize(
    ("kind", "before", "after"),
    [
        ("json", """'{"a": 1}'""", """'{"a":1}'"""),
        ("numeric", "1.0", "1.00"),
        ("point", "'(1,2)'", "'(1,3)'"),
        ("text", "repeat('x', 3000000)", "repeat('x', 2999999) || 'y'"),
        ("text", "null", "''"),
        ("int4range", "'[1,3)'", "'[1,4)'"),
    ],
)
def test_a_change_of_any_type_counts(conn: psycopg.Connection, kind: str, before: str, after: str) -> None:
    """A type may have no equality, or one that hides a change. The bytes are compared, also of large values."""
    conn.execute(f"create table thing (id int primary key, value {kind}, other int)".encode())
    conn.execute(f"insert into thing values (1, {before}, 0)".encode())
    watch(conn, "thing", operations=["update"])
    conn.execute("update thing set value = value, other = other")
    assert recorded(conn) == []
    conn.execute(f"update thing set value = {after}".encode())
    assert recorded(conn) == [("update", [1])]


def test_a_change_counts_in_a_column_that_was_added_later(conn: psycopg.Connection) -> None:
    """The trigger compares the row as the table is now, and names no column, so nothing blocks the change."""
    watch(conn, "product", operations=["update"])
    conn.execute("alter table product add column note text default 'a'")
    conn.execute("update product set note = 'a'")
    assert recorded(conn) == []
    conn.execute("update product set note = 'b' where id = 1")
    conn.execute("alter table product alter column note type varchar(5), drop column price")
    conn.execute("update product set note = 'c' where id = 1")
    assert recorded(conn) == [("update", [1]), ("update", [1])]


@pytest.mark.parametrize(
    ("condition", "ops"),
    [
        ("new.price = 9", ["insert", "update"]),
        ("old.price = 9", ["update", "delete"]),
        ("old.price is null", ["insert", "update"]),
        ("new.price is null", ["update", "delete"]),
        ("old.price is distinct from new.price", ["insert", "update", "update", "delete"]),
        ("null::boolean", []),
        ("true", ["insert", "update", "update", "delete"]),
    ],
)
def test_a_condition_sees_old_and_new_of_each_operation(
    conn: psycopg.Connection, condition: str, ops: list[str]
) -> None:
    """The row that an operation does not have reads as NULL."""
    watch(conn, "product", condition=condition)
    conn.execute("insert into product (id, price) values (3, 9)")
    conn.execute("update product set price = null where id = 3")
    conn.execute("update product set price = 9 where id = 3")
    conn.execute("delete from product where id = 3")
    assert [op for op, _ in recorded(conn)] == ops


def test_columns_and_condition_must_both_hold(conn: psycopg.Connection) -> None:
    watch(conn, "product", columns=["price"], condition="new.name = 'a'")
    conn.execute("update product set price = 7")
    conn.execute("update product set name = 'a'")
    assert recorded(conn) == [("update", [1])]


def test_a_condition_may_call_functions_with_their_schema(conn: psycopg.Connection) -> None:
    conn.execute("create schema shop")
    conn.execute("create function shop.dear(int) returns boolean language sql immutable as 'select $1 > 5'")
    watch(conn, "product", condition="shop.dear(new.price) and new.extra @> '{\"hot\": true}'")
    conn.execute("update product set price = 7, extra = '{\"hot\": true}' where id = 1")
    conn.execute("update product set price = 7 where id = 2")
    assert recorded(conn) == [("update", [1])]


def test_data_carries_the_chosen_columns_and_nothing_else(conn: psycopg.Connection) -> None:
    watch(conn, "product", data=["price", "name"])
    conn.execute("insert into product values (3, 'c', 3, '{}')")
    conn.execute("update product set price = 4 where id = 3")
    conn.execute("delete from product where id = 3")
    before, after = {"price": 3, "name": "c"}, {"price": 4, "name": "c"}
    assert carried(conn) == [{"new": before}, {"old": before, "new": after, "changed": ["price"]}, {"old": after}]


@pytest.mark.parametrize(
    ("parameters", "changed"),
    [
        ({"options": {"call": "event"}}, ["extra", "name", "price"]),
        ({"options": {"call": "event"}, "columns": ["price"]}, ["price"]),
        ({"data": ["name", "id"]}, ["name"]),
        ({"data": ["name"], "columns": ["price"]}, ["name", "price"]),
    ],
)
def test_changed_lists_what_changed_of_the_columns_that_the_watch_names(
    conn: psycopg.Connection, parameters: dict[str, Any], changed: list[str]
) -> None:
    watch(conn, "product", **parameters)
    conn.execute("update product set price = 7, name = 'x', extra = '1' where id = 1")
    [data] = carried(conn)
    assert data["changed"] == changed


def test_several_watches_on_one_table_each_record_their_own(conn: psycopg.Connection) -> None:
    watch(conn, "product", "prices", columns=["price"])
    watch(conn, "product", "names", columns=["name"])
    watch(conn, "product", "all")
    conn.execute("update product set price = 7 where id = 1")
    conn.execute("update product set name = 'x' where id = 1")
    assert sorted(watches(conn)) == ["all", "all", "names", "prices"]


@pytest.mark.parametrize(
    ("condition", "ops"),
    [
        ("old is null", ["insert"]),
        ("new is null", ["delete"]),
        ("old is not distinct from null", ["insert"]),
        ("new.* is distinct from old.*", ["insert", "update", "delete"]),
        ("(new).price = 9", ["insert", "update"]),
        ("old.extra ->> 'old.price' is null and new.price = 9", ["insert", "update"]),
        ("new.name = 'it''s old.price'", []),
        ("new.name || '' = 'new' or NEW.price = 9", ["insert", "update"]),
        ("new.price::text = '9' and new.price::numeric % 2 = 1", ["insert", "update"]),
        ("case when old.price is null then new.price else old.price end = 9", ["insert", "update", "delete"]),
        ("new.price = any (array[1, 9]) and (array[new.price])[1] = 9", ["insert", "update"]),
        ("coalesce(new.price, old.price) between 8 and 10", ["insert", "update", "delete"]),
        ("new.price in (9) and not (new.name in ('old', 'new'))", ["insert", "update"]),
        ("( new . price ) = 9", ["insert", "update"]),
    ],
)
@pytest.mark.parametrize("on_error", ["fail", "warn"])
def test_a_condition_may_be_written_in_any_way(
    conn: psycopg.Connection, condition: str, ops: list[str], on_error: str
) -> None:
    conn.execute("truncate product")
    watch(conn, "product", condition=condition, options={"on_error": on_error})
    conn.execute("insert into product values (3, 'c', 9, '{}')")
    conn.execute("update product set name = 'd'")
    conn.execute("delete from product")
    assert [op for op, _ in recorded(conn)] == ops


@pytest.mark.parametrize(
    "change", ["alter domain price set not null", "alter domain price add check (value is not null) not valid"]
)
def test_a_domain_that_refuses_null_fails_no_writer(conn: psycopg.Connection, change: str) -> None:
    """The row that an operation does not have reads as NULL, even where the type of the column refuses NULL."""
    conn.execute(
        "create domain whole as int; create domain price as whole; alter table product add dear price default 0"
    )
    watch(conn, "product", condition="old.dear is distinct from new.dear")
    conn.execute(change.encode())
    conn.execute("insert into product (id, dear) values (3, 1)")
    conn.execute("update product set dear = 2 where id = 3")
    conn.execute("delete from product where id = 3")
    assert recorded(conn) == [("insert", [3]), ("update", [3]), ("delete", [3])]


def test_a_backslash_is_a_backslash_in_every_session(database: Database, conn: psycopg.Connection) -> None:
    """A session's standard_conforming_strings decides how texts are read, and a capture function is stored as text."""
    condition = r"new.name <> '\'"
    watch(conn, "product", operations=["insert"], condition=condition)
    watch(conn, "product", "warns", operations=["insert"], condition=condition, options={"on_error": "warn"})
    conn.execute("alter table product add raw bytea")
    watch(conn, "product", "carries", operations=["insert"], data=["raw"])
    with database.connect() as old_fashioned:
        old_fashioned.execute("set standard_conforming_strings = off")
        old_fashioned.execute("insert into product (id, name, raw) values (3, 'c', 'ab'), (4, chr(92), null)")
    assert sorted(watches(conn)) == ["carries", "carries", "w", "warns"]
    assert {"new": {"raw": r"\x6162"}} in carried(conn)
