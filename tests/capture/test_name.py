"""Names that need quotes, or that have the maximum length."""

import psycopg
import pytest
from psycopg import sql

from tests.capture.log import carried, mend, recorded, watch
from tests.fix_postgres import TRIGGERS_SQL, PgServer

NAMES = [
    "select",
    "Mixed Case",
    'quo"te',
    "apo'strophe",
    "dol$$lar",
    "per%cent %s",
    "back\\slash",
    "semi;colon--",
    "größe_表_🐘",
    "n" * 63,
    "ü" * 31,
    "new",
    "old",
    "r",
]


@pytest.mark.parametrize("name", NAMES)
def test_schemas_tables_and_columns_may_have_any_name(conn: psycopg.Connection, name: str) -> None:
    quoted = sql.Identifier(name)
    table = sql.Identifier(name, name)
    other = sql.Identifier(f"{name[:1]}2")
    conn.execute(sql.SQL("create schema {}").format(quoted))
    conn.execute(sql.SQL("create table {} ({} int primary key, {} text)").format(table, quoted, other))
    relation = table.as_string(conn)
    new = sql.SQL("new.{}").format(other).as_string(conn)
    watch(conn, relation, data=[name], columns=[name], condition=None if ";" in name else f"{new} is null")
    conn.execute(sql.SQL("insert into {} values (1)").format(table))
    conn.execute(sql.SQL("update {} set {} = 2").format(table, quoted))
    assert recorded(conn) == [("insert", [1]), ("update", [2])]
    assert carried(conn)[1] == {"old": {name: 1}, "new": {name: 2}, "changed": [name], "old_key": [1]}
    declared = {"relation": relation, "data": [name], "columns": [name]}
    assert mend(conn, **declared) == ["keep" if ";" in name else "replace"]


@pytest.mark.parametrize("name", ["w" * 47, "UPPER.lower-9", "new", "key_w"])
def test_a_watch_may_have_any_name_that_fits(conn: psycopg.Connection, name: str) -> None:
    conn.execute("create table product (id int primary key) partition by hash (id)")
    conn.execute("create table product_0 partition of product for values with (modulus 1, remainder 0)")
    watch(conn, "product", name, operations=["insert", "update", "delete", "truncate"], data=["id"], condition="true")
    conn.execute("insert into product values (1)")
    assert conn.execute("select watch, key from bridge.event").fetchall() == [(name, [1])]


def test_the_search_path_of_the_writer_makes_no_difference(conn: psycopg.Connection) -> None:
    conn.execute("create table product (id int primary key)")
    watch(conn, "product")
    conn.execute("create temporary table product (id int primary key)")
    conn.execute("insert into product values (1)")
    conn.execute("set search_path = pg_catalog")
    conn.execute("insert into public.product values (2)")
    assert recorded(conn) == [("insert", [2])]


# Names that the capture function uses itself, and keywords of PL/pgSQL and SQL.
OWN_NAMES = ["k", "d", "old", "new", "tg_op", "tg_relid", "s", "key", "data", "stream", "op", "item", "null", "begin"]
OWN_NAMES += [
    "by",
    "declare",
    "end",
    "execute",
    "foreach",
    "if",
    "loop",
    "strict",
    "while",
    "return",
    "perform",
    "exit",
]


@pytest.mark.parametrize("on_error", ["fail", "warn"])
@pytest.mark.parametrize("renamed", [False, True])
def test_columns_may_be_called_like_what_the_capture_function_uses(
    conn: psycopg.Connection, renamed: bool, on_error: str
) -> None:
    columns = ", ".join(f'"{name}" int' for name in OWN_NAMES)
    conn.execute(f"create table product ({columns})".encode())
    condition = "new.begin > 0 and new.old > 0 and (new.while is null) = false"
    options = {"on_error": on_error}
    watch(
        conn, "product", key=["begin", "old"], data=OWN_NAMES, columns=OWN_NAMES, condition=condition, options=options
    )
    if renamed:
        # Each column takes the name of the column before it.
        conn.execute('alter table product rename "k" to first')
        for name, now in zip(OWN_NAMES[1:], OWN_NAMES, strict=False):
            conn.execute(f'alter table product rename "{name}" to "{now}"'.encode())
        conn.execute(f'alter table product rename first to "{OWN_NAMES[-1]}"'.encode())
    conn.execute(f"insert into product values ({', '.join(map(str, range(len(OWN_NAMES))))})".encode())
    conn.execute('update product set "end" = -1')
    (key, inserted), (_, updated) = conn.execute("select key, data from bridge.event order by id")
    assert key == [OWN_NAMES.index("begin"), OWN_NAMES.index("old")]
    assert inserted == {"new": {name: n for n, name in enumerate(OWN_NAMES)}}
    assert updated["changed"] == ["execute" if renamed else "end"]


def test_a_condition_names_columns_with_capitals_that_are_not_ascii(pg_server: PgServer) -> None:
    """PostgreSQL keeps the case of such letters, even where the locale of the database could change it."""
    name = f"bridge_test_{pg_server.run}_letters"
    pg_server.admin.execute(f"create database {name} template template0 locale 'C.UTF-8' encoding 'UTF8'".encode())
    try:
        with psycopg.connect(pg_server.dsn(name), autocommit=True) as conn:
            conn.execute(TRIGGERS_SQL.read_bytes())
            conn.execute('create table product (id int primary key, "É" int)')
            for watched, options in (("w", {}), ("warns", {"on_error": "warn"})):
                watch(conn, "product", watched, condition="new.É > 1 and old.É is null", options=options)
            conn.execute("insert into product values (1, 2), (2, 1)")
            conn.execute('update product set "É" = null')
            conn.execute('update product set "É" = id')
            assert recorded(conn) == [("insert", [1])] * 2 + [("update", [2])] * 2
    finally:
        pg_server.drop(name)
