"""The actions of foreign keys write rows too, and capture records them."""

import psycopg
import pytest

from tests.capture.log import ROWS, carried, each, recorded, watch


@pytest.fixture(autouse=True)
def product(conn: psycopg.Connection) -> None:
    conn.execute("create table product (id int primary key)")
    conn.execute("insert into product values (1), (2), (7)")


def reviews(conn: psycopg.Connection, action: str, rows: int) -> None:
    """Creates reviews of product 1."""
    conn.execute(
        f"create table review (id int primary key, product int default 7 references product {action})".encode()
    )
    conn.execute("insert into review select n, 1 from generate_series(1, %s) n", [rows])
    watch(conn, "review", data=["product"])


@ROWS
def test_on_delete_cascade_leaves_one_event_for_each_row(conn: psycopg.Connection, rows: int) -> None:
    reviews(conn, "on delete cascade", rows)
    conn.execute("delete from product where id = 1")
    assert recorded(conn) == each("delete", rows)


@ROWS
def test_on_delete_set_null_leaves_one_event_for_each_row(conn: psycopg.Connection, rows: int) -> None:
    reviews(conn, "on delete set null", rows)
    conn.execute("delete from product where id = 1")
    assert recorded(conn) == each("update", rows)
    assert all(data["new"] == {"product": None} for data in carried(conn))


@ROWS
def test_on_delete_set_default_leaves_one_event_for_each_row(conn: psycopg.Connection, rows: int) -> None:
    reviews(conn, "on delete set default", rows)
    conn.execute("delete from product where id = 1")
    assert recorded(conn) == each("update", rows)
    assert all(data["new"] == {"product": 7} for data in carried(conn))


@ROWS
def test_on_update_cascade_leaves_one_event_for_each_row(conn: psycopg.Connection, rows: int) -> None:
    reviews(conn, "on update cascade", rows)
    conn.execute("update product set id = 9 where id = 1")
    assert recorded(conn) == each("update", rows)
    assert all(data["changed"] == ["product"] for data in carried(conn))


def test_a_cascade_over_several_tables_is_recorded_on_each(conn: psycopg.Connection) -> None:
    reviews(conn, "on delete cascade", 1)
    conn.execute("create table reply (id int primary key, review int references review on delete cascade)")
    conn.execute("insert into reply values (5, 1)")
    watch(conn, "reply", "replies")
    watch(conn, "product", "products")
    conn.execute("delete from product where id = 1")
    rows = conn.execute("select watch, key from bridge.event order by 1").fetchall()
    assert rows == [("products", [1]), ("replies", [5]), ("w", [1])]


@pytest.mark.parametrize("action", ["", "on delete restrict"])
def test_a_delete_that_a_foreign_key_refuses_leaves_no_event(conn: psycopg.Connection, action: str) -> None:
    reviews(conn, action, 1)
    watch(conn, "product", "products")
    with pytest.raises(psycopg.IntegrityError):
        conn.execute("delete from product where id = 1")
    assert recorded(conn) == []
