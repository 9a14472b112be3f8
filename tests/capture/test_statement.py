"""Statements that write no row, one row and many rows."""

import psycopg
import pytest

from tests.capture.log import ROWS, each, recorded, watch


@pytest.fixture(autouse=True)
def product(conn: psycopg.Connection) -> None:
    """Creates three rows, and five more that a test may insert."""
    conn.execute("create table product (id int primary key, price int)")
    conn.execute("insert into product select n, n from generate_series(1, 3) n")
    conn.execute("create table delivery as select n as id, n * 10 as price from generate_series(1, 5) n")
    watch(conn, "product")


@ROWS
def test_insert_leaves_one_event_for_each_row(conn: psycopg.Connection, rows: int) -> None:
    conn.execute("insert into product select -n, n from generate_series(1, %s) n", [rows])
    assert recorded(conn) == [("insert", [-n]) for n in range(1, rows + 1)]


def test_insert_of_values_leaves_one_event_for_each_row(conn: psycopg.Connection) -> None:
    conn.execute("insert into product values (7, 1), (8, 2)")
    assert recorded(conn) == [("insert", [7]), ("insert", [8])]


@ROWS
def test_update_leaves_one_event_for_each_row(conn: psycopg.Connection, rows: int) -> None:
    conn.execute("update product set price = 0 where id <= %s", [rows])
    assert recorded(conn) == each("update", rows)


@ROWS
def test_delete_leaves_one_event_for_each_row(conn: psycopg.Connection, rows: int) -> None:
    conn.execute("delete from product where id <= %s", [rows])
    assert recorded(conn) == each("delete", rows)


@ROWS
def test_on_conflict_do_update_records_updates_and_inserts(conn: psycopg.Connection, rows: int) -> None:
    """The table already contains the first `rows` of the five rows."""
    conn.execute("delete from product where id > %s", [rows])
    conn.execute("truncate bridge.event")
    conn.execute(
        "insert into product select * from delivery on conflict (id) do update set price = excluded.price",
    )
    assert recorded(conn) == each("update", rows) + each("insert", 5)[rows:]


def test_on_conflict_do_update_whose_where_is_false_leaves_no_event(conn: psycopg.Connection) -> None:
    conn.execute("insert into product values (1, 7) on conflict (id) do update set price = 7 where product.price > 7")
    assert recorded(conn) == []


@ROWS
def test_on_conflict_do_nothing_records_only_new_rows(conn: psycopg.Connection, rows: int) -> None:
    conn.execute("insert into delivery values (6, 60)")
    conn.execute("insert into product select * from delivery where id <= 3 + %s on conflict do nothing", [rows])
    assert recorded(conn) == each("insert", 3 + rows)[3:]


@ROWS
def test_merge_records_what_it_did_to_each_row(conn: psycopg.Connection, rows: int) -> None:
    conn.execute(
        """
        merge into product using (select * from delivery where id <= %s) d on d.id = product.id
        when matched and d.id = 1 then delete
        when matched then update set price = d.price
        when not matched then insert values (d.id, d.price)
        """,
        [rows and rows + 1],
    )
    done = [("delete", [1]), ("update", [2]), ("update", [3]), ("insert", [4])]
    assert sorted(recorded(conn)) == sorted(done[: rows and rows + 1])


@ROWS
def test_copy_leaves_one_event_for_each_row(conn: psycopg.Connection, rows: int) -> None:
    with conn.cursor() as cursor, cursor.copy("copy product from stdin") as copy:
        for n in range(1, rows + 1):
            copy.write_row((-n, n))
    assert recorded(conn) == [("insert", [-n]) for n in range(1, rows + 1)]


@ROWS
def test_update_from_another_table_leaves_one_event_for_each_row(conn: psycopg.Connection, rows: int) -> None:
    conn.execute("insert into delivery values (1, 11)")  # a row that the join returns twice is updated once
    conn.execute("update product p set price = d.price from delivery d where d.id = p.id and p.id <= %s", [rows])
    assert sorted(recorded(conn)) == each("update", rows)


@ROWS
def test_delete_using_another_table_leaves_one_event_for_each_row(conn: psycopg.Connection, rows: int) -> None:
    conn.execute("delete from product p using delivery d where d.id = p.id and p.id <= %s", [rows])
    assert sorted(recorded(conn)) == each("delete", rows)


@ROWS
def test_every_part_of_a_writable_cte_is_recorded(conn: psycopg.Connection, rows: int) -> None:
    conn.execute(
        """
        with gone as (delete from product where id <= %s returning *),
            unread as (update product set price = 0 where id > 3)
        insert into product select id + 10, price from gone
        """,
        [rows],
    )
    inserted = [("insert", [n + 10]) for n in range(1, rows + 1)]
    assert sorted(recorded(conn)) == sorted(each("delete", rows) + inserted)


def test_update_where_current_of_a_cursor_is_recorded(conn: psycopg.Connection) -> None:
    with conn.transaction():
        conn.execute("declare c cursor for select * from product where id = 2 for update")
        conn.execute("fetch c")
        conn.execute("update product set price = 0 where current of c")
        conn.execute("delete from product where current of c")
    assert recorded(conn) == [("update", [2]), ("delete", [2])]


def test_prepared_statements_are_recorded_at_each_execution(conn: psycopg.Connection) -> None:
    for price in range(8):  # from the sixth execution on the server may use a generic plan
        conn.execute("update product set price = %s where id = 1", [price], prepare=True)
    assert recorded(conn) == [("update", [1])] * 8


def test_a_pipeline_of_statements_is_recorded_in_order(conn: psycopg.Connection) -> None:
    with conn.pipeline():
        conn.execute("insert into product values (7, 1)")
        conn.execute("update product set price = 2 where id = 7")
        conn.execute("delete from product where id = 7")
    assert recorded(conn) == [("insert", [7]), ("update", [7]), ("delete", [7])]


@pytest.mark.parametrize(
    "statement",
    [
        "select * from product for update",
        "alter table product add column size int",
        "create index on product (price)",
        "vacuum full product",
        "cluster product using product_pkey",
        "create table copy as select * from product",
    ],
)
def test_what_changes_no_row_leaves_no_event(conn: psycopg.Connection, statement: str) -> None:
    conn.execute(statement.encode())
    assert recorded(conn) == []
