"""Writes that reach the table through a view or a rule."""

import psycopg
import pytest

from tests.capture.log import ROWS, each, recorded, watch


@pytest.fixture(autouse=True)
def product(conn: psycopg.Connection) -> None:
    conn.execute("create table product (id int primary key, price int)")
    conn.execute("insert into product select n, n from generate_series(1, 3) n")
    watch(conn, "product")


@ROWS
def test_writes_through_an_updatable_view_are_recorded(conn: psycopg.Connection, rows: int) -> None:
    conn.execute("create view cheap as select id as number, price from product where price < 10")
    conn.execute("update cheap set price = 0 where number <= %s", [rows])
    conn.execute("delete from cheap where number <= %s", [rows])
    conn.execute("insert into cheap select n, 1 from generate_series(1, %s) n", [rows])
    assert recorded(conn) == each("update", rows) + each("delete", rows) + each("insert", rows)


def test_a_write_that_a_check_option_refuses_leaves_no_event(conn: psycopg.Connection) -> None:
    conn.execute("create view cheap as select * from product where price < 10 with check option")
    with pytest.raises(psycopg.errors.WithCheckOptionViolation):
        conn.execute("insert into cheap values (7, 70)")
    assert recorded(conn) == []


@ROWS
def test_writes_of_an_instead_of_trigger_are_recorded(conn: psycopg.Connection, rows: int) -> None:
    conn.execute("create view total as select id, sum(price) as price from product group by id")
    conn.execute(
        """
        create function spread() returns trigger language plpgsql as $$
        begin update product set price = new.price where id = new.id; return new; end $$
        """
    )
    conn.execute("create trigger spread instead of update on total for each row execute function spread()")
    conn.execute("update total set price = 0 where id <= %s", [rows])
    assert sorted(recorded(conn)) == each("update", rows)


@ROWS
def test_writes_of_a_rule_are_recorded(conn: psycopg.Connection, rows: int) -> None:
    conn.execute("create table request (id int)")
    conn.execute("create rule grant_it as on insert to request do also delete from product where id = new.id")
    conn.execute("insert into request select n from generate_series(1, %s) n", [rows])
    assert sorted(recorded(conn)) == each("delete", rows)


def test_a_rule_that_puts_nothing_in_place_of_a_write_leaves_no_event(conn: psycopg.Connection) -> None:
    conn.execute("create rule keep as on delete to product do instead nothing")
    conn.execute("delete from product")
    assert recorded(conn) == []
