"""The events of a shadow watch keep the client's statement; those of another watch are as they were."""

import json

import psycopg
import pytest


def watch(conn: psycopg.Connection, name: str, **options: object) -> None:
    conn.execute('create table if not exists "Odd "" name" (id int primary key, price int)')
    conn.execute(
        "select bridge.watch(%s, '\"Odd \"\" name\"', 'shop.touch', operations => '{insert,update,delete,truncate}', "
        "data => %s, options => %s::jsonb)",
        [name, options.pop("data", None), json.dumps(options)],
    )


STATEMENTS = [
    'insert into "Odd "" name" values (1, 1) /* it\'s "%s" */',
    'update "Odd "" name" set price = 2',
    'update "Odd "" name" set id = 2',
    'delete from "Odd "" name"',
    'truncate "Odd "" name"',
]


@pytest.mark.parametrize("data", [None, ["price"]])
def test_each_operation_keeps_its_statement(conn: psycopg.Connection, data: list[str] | None) -> None:
    watch(conn, "plain", data=data)
    watch(conn, "odd.na-me", data=data, shadow=True)
    for statement in STATEMENTS:
        conn.execute(statement.encode())
    rows = conn.execute("select op, key, data from bridge.event where watch = %s order by id", ["odd.na-me"]).fetchall()
    assert [row[2].pop("statement") for row in rows] == STATEMENTS
    plain = conn.execute("select op, key, coalesce(data, '{}') from bridge.event where watch = 'plain' order by id")
    assert rows == plain.fetchall()


def test_a_long_statement_is_cut(conn: psycopg.Connection) -> None:
    watch(conn, "long", shadow=True, on_error="warn")
    conn.execute(f'insert into "Odd "" name" values (1, 1) /* {"é" * 9000} */'.encode())
    assert conn.execute("select length(data ->> 'statement') from bridge.event").fetchone() == (500,)


def test_a_watch_that_becomes_real_keeps_no_statement(conn: psycopg.Connection) -> None:
    watch(conn, "w", shadow=True)
    watch(conn, "w", shadow=False)
    conn.execute(STATEMENTS[0].encode())
    assert conn.execute("select data from bridge.event").fetchone() == (None,)
