"""bridge.watch and bridge.unwatch, in plain SQL."""

import re

import psycopg
import pytest

from bridge.database import schema


@pytest.fixture(autouse=True)
def product(conn: psycopg.Connection) -> None:
    conn.execute("create schema shop")
    conn.execute("create table shop.product (id bigint primary key, name text, price numeric(10, 2), extra json)")
    conn.execute("create table shop.keyless (name text)")
    conn.execute("create view shop.cheap as select * from shop.product")


def triggers(conn: psycopg.Connection) -> list[str]:
    rows = conn.execute(
        "select tgname from pg_trigger where tgrelid = 'shop.product'::regclass and not tgisinternal order by 1"
    )
    return [row[0] for row in rows]


def installed(conn: psycopg.Connection) -> list[tuple[object, ...]]:
    return conn.execute("select proname from pg_proc where pronamespace = 'bridge'::regnamespace order by 1").fetchall()


def test_watch_makes_one_trigger_per_operation(conn: psycopg.Connection) -> None:
    conn.execute("select bridge.watch('p', 'shop.product', 't')")
    assert triggers(conn) == ["bridge_delete_p", "bridge_insert_p", "bridge_update_p"]


def test_watching_again_with_fewer_operations_drops_the_other_triggers(conn: psycopg.Connection) -> None:
    conn.execute("select bridge.watch('p', 'shop.product', 't')")
    conn.execute("select bridge.watch('p', 'shop.product', 't', operations => '{update}')")
    assert triggers(conn) == ["bridge_update_p"]


def test_watching_another_table_under_the_same_name_moves_the_triggers(conn: psycopg.Connection) -> None:
    conn.execute("select bridge.watch('p', 'shop.product', 't')")
    conn.execute("select bridge.watch('p', 'shop.keyless', 't', key => '{name}')")
    assert triggers(conn) == []
    conn.execute("insert into shop.keyless values ('x')")
    assert conn.execute("select key from bridge.event").fetchall() == [(["x"],)]


def test_unwatch_leaves_nothing_but_the_events(conn: psycopg.Connection) -> None:
    before = installed(conn)
    conn.execute("select bridge.watch('p', 'shop.product', 't', condition => 'new.price > 0', data => '{name}')")
    conn.execute("insert into shop.product values (1, 'a', 1)")
    assert conn.execute("select bridge.unwatch('p')").fetchone() == (True,)
    assert conn.execute("select bridge.unwatch('p')").fetchone() == (False,)
    assert (triggers(conn), installed(conn)) == ([], before)
    conn.execute("insert into shop.product values (2, 'b', 2)")
    assert conn.execute("select key from bridge.waiting").fetchall() == [([1],)]


WRONG = [
    ("'p', 'shop.product', 't', columns => '{colour}'", 'has no column "colour"'),
    ("'p', 'shop.product', 't', key => '{uid}'", 'has no column "uid"'),
    ("'p', 'shop.product', 't', data => '{uid}'", 'has no column "uid"'),
    ("'p', 'shop.product', 't', columns => '{}'", '"columns" is empty'),
    ("'p', 'shop.keyless', 't'", "has no primary key: name the columns"),
    ("'p', 'shop.cheap', 't', key => '{id}'", "is not a table"),
    ("'p', 'shop.nothing', 't'", 'relation "shop.nothing" does not exist'),
    ("'p', 'bridge.event', 't', key => '{id}'", "belongs to the system"),
    ("'p', 'pg_catalog.pg_class', 't', key => '{oid}'", "belongs to the system"),
    ("'p', 'shop.product', ''", "full name of a Celery task"),
    ("'p', 'shop.product', null", "full name of a Celery task"),
    ("'odd name', 'shop.product', 't'", "a name has 1 to 47"),
    ("repeat('n', 48), 'shop.product', 't'", "a name has 1 to 47"),
    ("null, 'shop.product', 't'", "a name has 1 to 47"),
    ("'p', 'shop.product', 't', operations => '{upsert}'", "operations are insert, update, delete and truncate"),
    ("'p', 'shop.product', 't', operations => '{}'", "operations are insert, update, delete and truncate"),
    ("'p', 'shop.product', 't', operations => '{insert}', columns => '{name}'", '"columns" selects updates'),
    ("'p', 'shop.product', 't', stream => 'Not A Stream'", "a stream's name"),
    ("'p', 'shop.product', 't', condition => 'new.colour = 1'", "the condition does not work"),
    ("'p', 'shop.product', 't', condition => 'new.price >'", "the condition does not work"),
    ("'p', 'shop.product', 't', condition => 'new.name'", "the condition does not work"),
    ("'p', 'shop.product', 't', condition => 'new.price > (select 1)', operations => '{update}'", "does not work"),
    ("'p', 'shop.product', 't', condition => 'true) execute function f(); --'", "not one SQL expression"),
    (
        "'p', 'shop.product', 't', condition => 'true); drop table shop.product; select (1'",
        "not one SQL expression",
    ),
    ("'p', 'shop.product', 't', condition => 'true) or (true'", "not one SQL expression"),
    ("'p', 'shop.product', 't', condition => $$e'\\') or true$$", "escape string"),
    ("'p', 'shop.product', 't', condition => 'new.name = ''a'", "not one SQL expression"),
    ("'p', 'shop.product', 't', options => '[]'", "options must be a JSON object"),
    ("""'p', 'shop.product', 't', options => '{"qeue": "q"}'""", 'unknown option "qeue"'),
    ("""'p', 'shop.product', 't', options => '{"call": "row"}'""", 'option "call"'),
    ("""'p', 'shop.product', 't', options => '{"queue": ""}'""", 'option "queue"'),
    ("""'p', 'shop.product', 't', options => '{"queue": "amq.x"}'""", 'option "queue" can\'t begin with "amq."'),
    ("""'p', 'shop.product', 't', options => '{"priority": 256}'""", 'option "priority"'),
    ("""'p', 'shop.product', 't', options => '{"priority": 1.5}'""", 'option "priority"'),
    ("""'p', 'shop.product', 't', options => '{"countdown": -1}'""", 'option "countdown"'),
    ("""'p', 'shop.product', 't', options => '{"expires": 0}'""", 'option "expires"'),
    ("""'p', 'shop.product', 't', options => '{"headers": []}'""", 'option "headers"'),
]


def test_wrong_input_is_one_clear_error_and_changes_nothing(conn: psycopg.Connection) -> None:
    before = installed(conn)
    for call, complaint in WRONG:
        with pytest.raises(psycopg.Error) as raised:
            conn.execute(f"select bridge.watch({call})".encode())
        assert re.search(complaint.replace("(", r"\("), str(raised.value)), call
        assert "\n" not in (raised.value.diag.message_primary or ""), call
        assert (call, triggers(conn), installed(conn)) == (call, [], before)
        assert (call, conn.execute("select count(*) from bridge.watch").fetchone()) == (call, (0,))


def test_temporary_tables_are_refused(conn: psycopg.Connection) -> None:
    conn.execute("create temporary table t (id int primary key)")
    with pytest.raises(psycopg.Error, match="temporary table"):
        conn.execute("select bridge.watch('p', 't', 't')")


def test_a_failed_watch_leaves_the_old_one_at_work(conn: psycopg.Connection) -> None:
    conn.execute("select bridge.watch('p', 'shop.product', 't', operations => '{insert}')")
    with pytest.raises(psycopg.Error, match="does not work"):
        conn.execute("select bridge.watch('p', 'shop.product', 't', condition => 'new.colour > 1')")
    conn.execute("insert into shop.product values (1)")
    assert conn.execute("select watch from bridge.event").fetchall() == [("p",)]


def test_a_condition_may_hold_quotes_and_semicolons_in_literals(conn: psycopg.Connection) -> None:
    conn.execute(
        """select bridge.watch('p', 'shop.product', 't', condition => 'new.name = ''it''''s; a -- "test" )''')"""
    )
    conn.execute("insert into shop.product values (1, 'it''s; a -- \"test\" )'), (2, 'other')")
    assert conn.execute("select key from bridge.event").fetchall() == [([1],)]


def test_a_condition_over_old_and_new_reads_the_missing_row_as_null(conn: psycopg.Connection) -> None:
    conn.execute(
        "select bridge.watch('p', 'shop.product', 't', condition => 'old.price is null or new.price > old.price')"
    )
    conn.execute("insert into shop.product values (1, 'a', 1)")
    conn.execute("update shop.product set price = 2")
    conn.execute("update shop.product set price = 1")
    conn.execute("delete from shop.product")
    assert conn.execute("select op from bridge.event order by id").fetchall() == [("insert",), ("update",)]


def test_applying_triggers_sql_again_changes_nothing(conn: psycopg.Connection) -> None:
    conn.execute("select bridge.watch('p', 'shop.product', 't')")
    conn.execute("insert into shop.product values (1)")
    before = conn.execute("select w.xmin, w.* from bridge.watch w").fetchall()
    conn.execute(schema.read().encode())
    assert conn.execute("select w.xmin, w.* from bridge.watch w").fetchall() == before
    assert conn.execute("select count(*) from bridge.waiting").fetchone() == (1,)


def test_dropping_the_schema_removes_everything(conn: psycopg.Connection) -> None:
    conn.execute("select bridge.watch('p', 'shop.product', 't')")
    conn.execute("drop schema bridge cascade")
    assert triggers(conn) == []
    conn.execute("insert into shop.product values (1)")
