"""Writes of rows that have other triggers, and writes in triggers and functions."""

import psycopg
import pytest

from tests.capture.log import ROWS, carried, each, recorded, watch


@pytest.fixture(autouse=True)
def product(conn: psycopg.Connection) -> None:
    conn.execute("create table product (id int primary key, price int)")
    conn.execute("create table audit (product int primary key, changes int)")
    conn.execute("insert into product select n, n from generate_series(1, 3) n")


def trigger(conn: psycopg.Connection, when: str, body: str, name: str = "other") -> None:
    """Creates a trigger with this name on product."""
    conn.execute(f"create function {name}() returns trigger language plpgsql as $$ begin {body} end $$".encode())
    conn.execute(f"create trigger {name} {when} on product for each row execute function {name}()".encode())


def test_what_a_before_trigger_makes_of_the_row_is_recorded(conn: psycopg.Connection) -> None:
    trigger(conn, "before insert or update", "new.price := new.price * 2; return new;")
    watch(conn, "product", data=["price"])
    conn.execute("insert into product values (7, 5)")
    conn.execute("update product set price = 6 where id = 7")
    assert carried(conn) == [
        {"new": {"price": 10}},
        {"old": {"price": 10}, "new": {"price": 12}, "changed": ["price"]},
    ]


def test_a_column_that_only_a_before_trigger_changes_counts_as_changed(conn: psycopg.Connection) -> None:
    conn.execute("alter table product add column touched int default 0")
    trigger(conn, "before update", "new.touched := old.touched + 1; return new;")
    watch(conn, "product", operations=["update"], columns=["touched"])
    conn.execute("update product set price = price where id = 1")
    assert recorded(conn) == [("update", [1])]


def test_named_only_looks_at_the_set_list(conn: psycopg.Connection) -> None:
    conn.execute("alter table product add column touched int default 0")
    trigger(conn, "before update", "new.touched := old.touched + 1; return new;")
    watch(conn, "product", columns=["touched"], options={"named_only": True})
    conn.execute("update product set price = 5")
    assert recorded(conn) == []
    conn.execute("update product set touched = 7 where id = 1")
    assert recorded(conn) == [("update", [1])]
    with pytest.raises(psycopg.errors.InvalidParameterValue, match='"named_only" needs "columns"'):
        watch(conn, "product", options={"named_only": True})


def test_a_write_that_a_before_trigger_calls_off_leaves_no_event(conn: psycopg.Connection) -> None:
    trigger(conn, "before insert or update or delete", "return null;")
    watch(conn, "product")
    conn.execute("insert into product values (7, 5)")
    conn.execute("update product set price = 0")
    conn.execute("delete from product")
    assert recorded(conn) == []


def test_a_change_back_by_a_before_trigger_is_no_change_of_the_column(conn: psycopg.Connection) -> None:
    trigger(conn, "before update", "new.price := old.price; return new;")
    watch(conn, "product", operations=["update"], columns=["price"])
    conn.execute("update product set price = 0")
    assert recorded(conn) == []


@ROWS
def test_writes_of_an_after_trigger_to_another_table_are_recorded(conn: psycopg.Connection, rows: int) -> None:
    trigger(conn, "after update", "insert into audit values (new.id, 1); return null;")
    watch(conn, "audit")
    conn.execute("update product set price = 0 where id <= %s", [rows])
    assert recorded(conn) == each("insert", rows)


@pytest.mark.parametrize(("name", "order"), [("zebra", [(1, 9), (9, 19)]), ("aardvark", [(9, 19), (1, 9)])])
def test_an_after_trigger_that_writes_the_row_again_leaves_two_events(
    conn: psycopg.Connection, name: str, order: list[tuple[int, int]]
) -> None:
    """PostgreSQL runs a row's triggers by name, so the write of a trigger before bridge_update_w is recorded first."""
    again = "if new.price < 10 then update product set price = price + 10 where id = new.id; end if; return null;"
    trigger(conn, "after update", again, name)
    watch(conn, "product", operations=["update"], data=["price"])
    conn.execute("update product set price = 9 where id = 1")
    assert [(data["old"]["price"], data["new"]["price"]) for data in carried(conn)] == order


def test_writes_of_a_deferred_constraint_trigger_are_recorded_at_the_commit(conn: psycopg.Connection) -> None:
    conn.execute(
        """
        create function late() returns trigger language plpgsql as $$
        begin insert into audit values (new.id, 1); return null; end $$
        """
    )
    conn.execute(
        "create constraint trigger late after update on product deferrable initially deferred "
        "for each row execute function late()"
    )
    watch(conn, "audit")
    with conn.transaction():
        conn.execute("update product set price = 0 where id = 1")
        assert recorded(conn) == []
    assert recorded(conn) == [("insert", [1])]


@pytest.mark.parametrize("body", ["sql", "plpgsql", "sql security definer set search_path = public"])
@ROWS
def test_writes_in_a_function_are_recorded(conn: psycopg.Connection, body: str, rows: int) -> None:
    watch(conn, "product")
    update = "update product set price = 0 where id <= most"
    code = f"begin {update}; end" if body == "plpgsql" else update
    conn.execute(f"create function reset(most int) returns void language {body} as $$ {code} $$".encode())
    conn.execute("select reset(%s)", [rows])
    assert recorded(conn) == each("update", rows)


def test_writes_in_a_do_block_and_in_dynamic_sql_are_recorded(conn: psycopg.Connection) -> None:
    watch(conn, "product")
    conn.execute("do $$ begin execute 'delete from product where id = 2'; end $$")
    assert recorded(conn) == [("delete", [2])]


def test_a_procedure_that_commits_between_writes_leaves_events_of_two_transactions(conn: psycopg.Connection) -> None:
    watch(conn, "product")
    conn.execute(
        """
        create procedure twice() language plpgsql as $$
        begin
            delete from product where id = 1; commit;
            delete from product where id = 2; commit;
            delete from product where id = 3; rollback;
        end $$
        """
    )
    conn.execute("call twice()")
    assert recorded(conn) == each("delete", 2)
    assert conn.execute("select count(distinct xid) from bridge.event").fetchone() == (2,)
