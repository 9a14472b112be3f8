"""The statements of docs/howto/change-a-table.md work, and capture goes on."""

import re
from pathlib import Path

import psycopg
import pytest

from tests.fix_postgres import Database

PAGE = Path(__file__).parents[1] / "docs" / "howto" / "change-a-table.md"


def test_the_examples_work_and_the_watch_follows(conn: psycopg.Connection) -> None:
    notices: list[str] = []
    conn.add_notice_handler(lambda notice: notices.append(notice.message_primary or ""))
    conn.execute("create table product (id int primary key, name text, price int)")
    conn.execute(
        "select bridge.watch('reprice', 'product', 't.t', columns => '{price,name}', condition => 'new.price > 0')"
    )
    conn.execute("insert into product values (1, 'Tea', 1)")
    blocks = re.findall(r"^```sql\n(.*?)^```$", PAGE.read_text(), re.DOTALL | re.MULTILINE)
    assert len(blocks) == 3
    for number, block in enumerate(blocks):
        with conn.transaction():
            conn.execute(block.encode())
        conn.execute("update product set name = %s", [f"Tea {number}"])
    assert conn.execute("select op, key, count(*) from bridge.event group by 1, 2 order by 1").fetchall() == [
        ("insert", [1], 1),
        ("update", [1], 3),
    ]
    assert conn.execute("select columns from bridge.watch").fetchone() == (["name"],)
    assert conn.execute("select * from bridge.drift()").fetchall() == []
    assert 'watch "reprice": the column price was dropped; the watch continues without it' in notices


def test_a_reader_that_goes_on_to_write_meets_no_deadlock(conn: psycopg.Connection, database: Database) -> None:
    """step_aside takes the strong lock of the change at once. A weaker lock first could lead to a deadlock."""
    conn.execute("create table product (id int primary key, price int)")
    conn.execute("select bridge.watch('reprice', 'product', 't.t', columns => '{price}')")
    conn.execute("insert into product values (1, 1)")
    with psycopg.connect(database.dsn) as reader:
        reader.execute("select * from product")
        conn.execute("set lock_timeout = '100ms'")
        with pytest.raises(psycopg.errors.LockNotAvailable):
            conn.execute("select bridge.step_aside('product')")
        reader.execute("update product set price = 2")
    assert conn.execute("select bridge.step_aside('product')").fetchone() == (True,)


def test_nothing_is_locked_where_nothing_watches(conn: psycopg.Connection, database: Database) -> None:
    conn.execute("create table product (id int primary key)")
    with psycopg.connect(database.dsn) as reader:
        reader.execute("select * from product")
        assert conn.execute("select bridge.step_aside('product')").fetchone() == (False,)


def test_what_cascade_took_is_made_loose_where_it_cannot_be_made_as_it_was(conn: psycopg.Connection) -> None:
    conn.execute("create table product (id int primary key, price int)")
    conn.execute("select bridge.watch('reprice', 'product', 't.t', condition => 'new.price > 0 or old.id > 0')")
    with conn.transaction():
        conn.execute("alter table product drop column price cascade, drop column id cascade, add name text")
        conn.execute("select bridge.step_back('product')")
    conn.execute("insert into product values ('Tea')")
    assert conn.execute("select op, data ->> 'unreadable' from bridge.event").fetchall() == [
        ("insert", 'the column "id" of the key is gone')
    ]
    assert conn.execute("select name from bridge.drift()").fetchall() == [("reprice",)]
