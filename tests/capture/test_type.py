"""Values of every type are carried, compared, and written as JSON, whatever the settings of the writer's session."""

from typing import Any

import psycopg
import pytest

from tests.capture.log import carried, recorded, watch
from tests.fix_postgres import on_pg15, on_pg18

# Each entry is a type, two different literals, and the first one in JSON.
NUMBERS: list[tuple[str, str, str, Any]] = [
    ("smallint", "1", "2", 1),
    ("bigint", "-9223372036854775808", "2", -9223372036854775808),
    ("numeric", "1.50", "1.5", "1.50"),
    ("numeric", "NaN", "1", "NaN"),
    ("numeric", "Infinity", "-Infinity", "Infinity"),
    ("numeric(40, 20)", "12345678901234567890.1", "0", "12345678901234567890.10000000000000000000"),
    ("real", "0.1", "0.2", 0.1),
    ("double precision", "0.1", "-0.1", 0.1),
    ("double precision", "NaN", "Infinity", "NaN"),
    ("boolean", "true", "false", True),
    ("money", "12.34", "0", "$12.34"),
]
TIMES: list[tuple[str, str, str, Any]] = [
    ("date", "2026-01-02", "infinity", "2026-01-02"),
    ("date", "infinity", "-infinity", "infinity"),
    ("date", "0044-03-15 BC", "2026-01-02", "0044-03-15 BC"),
    ("timestamp", "2026-01-02 03:04:05.678", "-infinity", "2026-01-02T03:04:05.678"),
    ("timestamptz", "2026-01-02 03:04:05.678-05", "infinity", "2026-01-02T08:04:05.678+00:00"),
    ("timestamptz", "-infinity", "infinity", "-infinity"),
    ("time", "03:04:05", "24:00", "03:04:05"),
    ("timetz", "03:04-05", "03:04-06", "03:04:00-05"),
    ("interval", "1 day 2 hours", "26 hours", "P1DT2H"),
]
TEXTS: list[tuple[str, str, str, Any]] = [
    ("text", "", "x", ""),
    ("text", 'Ä 🐘 " \\ \t\n', "Ä", 'Ä 🐘 " \\ \t\n'),
    ("varchar(5)", "abc", "abd", "abc"),
    ("char(5)", "abc", "abd", "abc  "),
    ('"char"', "a", "b", "a"),
    ("name", "a", "b", "a"),
    ("bytea", "\\x00deadbeef", "\\x00", "\\x00deadbeef"),
    ("bit(3)", "101", "100", "101"),
    ("uuid", "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11", "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a12", None),
    ("inet", "10.0.0.1/8", "10.0.0.2/8", "10.0.0.1/8"),
    ("tsvector", "a:1 b:2", "a:1", "'a':1 'b':2"),
]
JSONS: list[tuple[str, str, str, Any]] = [
    ("jsonb", '{"a": [1, null]}', '{"a": []}', {"a": [1, None]}),
    ("json", '{"a": 1}', '{"a":1}', {"a": 1}),
    ("json", "null", "1", None),
    ("json", r'"\u0000"', "1", r'"\u0000"'),
    ("json", r'"\ud800"', "1", r'"\ud800"'),
    ("json", "1e200000", "1", "1e200000"),
    ("json[]", r'{"\"\\u0000\""}', "{1}", r'{"\"\\u0000\""}'),
    ("envelope", r'(1,"""\\u0000""")', '(1,"1")', r'(1,"""\\u0000""")'),
]
NESTED: list[tuple[str, str, str, Any]] = [
    ("int[]", "{1,NULL,3}", "{1,2,3}", [1, None, 3]),
    ("text[]", '{{a,"b c"},{d,e}}', "{}", [["a", "b c"], ["d", "e"]]),
    ("numeric[]", "{1.50,NaN}", "{1.5,NaN}", [1.5, "NaN"]),
    ("address", "(Main,7)", "(Main,8)", {"street": "Main", "number": 7}),
    ("address[]", '{"(Main,7)"}', "{}", [{"street": "Main", "number": 7}]),
    ("colour", "red", "green", "red"),
    ("positive", "1", "2", 1),
    ("price", "1.50", "1.5", "1.50"),
    ("int4range", "[1,3]", "empty", "[1,4)"),
    ("tstzrange", "[2026-01-01 00:00+01,)", "empty", '["2025-12-31 23:00:00+00",)'),
    ("int4multirange", "{[1,3),[5,7)}", "{}", "{[1,3),[5,7)}"),
    ("point", "(1,2)", "(1,3)", "(1,2)"),
    ("box", "((1,1),(0,0))", "((2,2),(0,0))", "(1,1),(0,0)"),
]
FAMILIES = {"numbers": NUMBERS, "times": TIMES, "texts": TEXTS, "jsons": JSONS, "nested": NESTED}
SESSIONS = [
    "set timezone = 'UTC'",
    """
    set timezone = 'Asia/Kolkata'; set datestyle = 'German, DMY'; set intervalstyle = sql_standard;
    set bytea_output = escape; set extra_float_digits = -3
    """,
]


@pytest.fixture(autouse=True)
def types(conn: psycopg.Connection) -> None:
    conn.execute(
        """
        create type address as (street text, number int);
        create type envelope as (number int, content json);
        create type colour as enum ('red', 'green');
        create domain positive as int check (value > 0);
        create domain price as numeric;
        """
    )


@pytest.mark.parametrize("session", SESSIONS, ids=["plain", "odd settings"])
@pytest.mark.parametrize("family", FAMILIES)
def test_a_value_of_any_type_is_carried_and_compared(conn: psycopg.Connection, family: str, session: str) -> None:
    cases = FAMILIES[family]
    for n, (kind, *_) in enumerate(cases):
        conn.execute(f"create table t{n} (id int primary key, v {kind})".encode())
        watch(conn, f"t{n}", f"w{n}", columns=["v"], data=["v"])
    conn.execute(session.encode())
    for n, (kind, first, other, in_json) in enumerate(cases):
        conn.execute("truncate bridge.event")
        values = [first, first, other, None]
        conn.execute(f"insert into t{n} values (1, %s::{kind})".encode(), [values[0]])
        for value in values[1:]:
            conn.execute(f"update t{n} set v = %s::{kind}".encode(), [value])
        inserted, changed, emptied = carried(conn)
        expected = first if kind == "uuid" else in_json
        assert inserted == {"new": {"v": expected}}, (kind, first)
        assert (changed["old"], changed["changed"]) == ({"v": expected}, ["v"]), (kind, first)
        assert (emptied["new"], emptied["changed"]) == ({"v": None}, ["v"]), (kind, first)


@on_pg15  # the embedded server has no ICU
def test_text_that_is_equal_but_not_the_same_has_changed(conn: psycopg.Connection) -> None:
    conn.execute("create collation caseless (provider = icu, locale = 'und-u-ks-level2', deterministic = false)")
    conn.execute("create table t (id int primary key, v text collate caseless)")
    watch(conn, "t", operations=["update"], columns=["v"])
    conn.execute("insert into t values (1, 'a')")
    conn.execute("update t set v = 'a'")
    conn.execute("update t set v = 'A'")
    assert recorded(conn) == [("update", [1])]


@on_pg15  # the embedded server has no XML
def test_xml_is_carried_as_text_and_compared(conn: psycopg.Connection) -> None:
    conn.execute("create table t (id int primary key, v xml)")
    watch(conn, "t", operations=["update"], columns=["v"], data=["v"])
    conn.execute("insert into t values (1, '<a/>')")
    conn.execute("update t set v = '<a/>'")
    conn.execute("update t set v = '<a b=''1''/>'")
    assert carried(conn) == [{"old": {"v": "<a/>"}, "new": {"v": "<a b='1'/>"}, "changed": ["v"]}]


def test_a_text_of_a_megabyte_is_carried_whole(conn: psycopg.Connection) -> None:
    conn.execute("create table t (id text primary key, v text)")
    watch(conn, "t", key=["v"], columns=["v"], data=["v"])
    text = "".join(f"{n:07}|" for n in range(131072))
    conn.execute("insert into t values ('a', %s)", [text])
    conn.execute("update t set v = v || 'x'")
    conn.execute("update t set v = v || ''")
    assert recorded(conn) == [("insert", [text]), ("update", [text + "x"])]
    assert carried(conn)[1] == {
        "old": {"v": text},
        "new": {"v": text + "x"},
        "changed": ["v"],
        "old_key": [text],
    }


def test_nulls_are_values_that_change(conn: psycopg.Connection) -> None:
    conn.execute("create table t (id int primary key, v int)")
    watch(conn, "t", operations=["update"], columns=["v"], data=["v"])
    conn.execute("insert into t values (1)")
    for value in ("null", "1", "1", "null"):
        conn.execute(f"update t set v = {value}".encode())
    assert [(data["old"]["v"], data["new"]["v"]) for data in carried(conn)] == [(None, 1), (1, None)]


def test_a_jsonb_with_a_null_character_is_refused_by_postgresql_itself(conn: psycopg.Connection) -> None:
    conn.execute("create table t (id int primary key, v jsonb)")
    statement = r"""insert into t values (1, '"\u0000"')"""
    with pytest.raises(psycopg.errors.UntranslatableCharacter):
        conn.execute(statement.encode())
    watch(conn, "t", data=["v"])
    with pytest.raises(psycopg.errors.UntranslatableCharacter) as refused:
        conn.execute(statement.encode())
    assert "bridge" not in str(refused.value.diag.context)


def test_toasted_columns_that_did_not_change_are_not_in_the_way(conn: psycopg.Connection) -> None:
    conn.execute("create table t (id int primary key, big text, small int)")
    conn.execute("alter table t alter big set storage external")
    watch(conn, "t", operations=["update"], columns=["big", "small"], data=["big"])
    conn.execute("insert into t values (1, repeat('x', 100000), 0)")
    conn.execute("update t set small = 1")
    [data] = carried(conn)
    assert data["changed"] == ["small"]
    assert data["old"] == data["new"] == {"big": "x" * 100000}


@pytest.mark.parametrize("family", FAMILIES)
def test_a_value_of_any_type_is_carried_the_same_after_its_column_was_renamed(
    conn: psycopg.Connection, family: str
) -> None:
    """After the rename capture reads the value by the number of its column, with other code than before."""
    cases = FAMILIES[family]
    for n, (kind, first, other, _) in enumerate(cases):
        conn.execute(f"create table t{n} (id int primary key, v {kind})".encode())
        watch(conn, f"t{n}", f"w{n}", data=["v"])
        write = f"insert into t{n} values (1, %s::{kind}), (2, %s::{kind}), (3, null)".encode()
        conn.execute(write, [first, other])
        conn.execute(f"delete from t{n}".encode())
        conn.execute(f"alter table t{n} rename v to renamed".encode())
        conn.execute(write, [first, other])
        conn.execute(f"delete from t{n}".encode())
        seen = carried(conn)
        assert seen[:6] == seen[6:], (kind, first)
        conn.execute("truncate bridge.event")


NESTED_OF_OWN_TYPES = """
    create type mood as enum ('calm', 'wild');
    create type span as range (subtype = int4);
    create domain tone as mood;
    create type inner_ as (m mood, n numeric, j json);
    create type outer_ as (i inner_, l inner_[], t tone, b bytea);
    create function planted(mood) returns json language plpgsql as $$ begin raise 'a cast ran'; end $$;
    create cast (mood as json) with function planted(mood);
    create function planted(inner_) returns json language plpgsql as $$ begin raise 'a cast ran'; end $$;
    create cast (inner_ as json) with function planted(inner_);
    create table product (id int primary key, o outer_, os outer_[], moods mood[], s span, ss span[], ts tone[]);
"""


@pytest.mark.parametrize("renamed", [False, True])
def test_types_of_ones_own_are_carried_in_all_their_parts_and_their_casts_do_not_run(
    conn: psycopg.Connection, renamed: bool
) -> None:
    conn.execute(NESTED_OF_OWN_TYPES)
    watch(conn, "product", data=["o", "os", "moods", "s", "ss", "ts"])
    if renamed:
        for column in ("o", "os", "moods", "s", "ss", "ts"):
            conn.execute(f"alter table product rename {column} to {column}_now".encode())
    conn.execute(
        r"""
        insert into product values (
            1, row(row('calm', 1.50, '{"a": 1}')::inner_,
                array[row('wild', 'NaN', '"\u0000"'), null]::inner_[], 'calm', '\x00'),
            array[row(null, '{}', null, null)]::outer_[], '{calm,null}', '[1,3]', '{"[1,2)"}', '{wild}'
        )
        """
    )
    conn.execute("insert into product values (2)")
    first, empty = (data["new"] for data in carried(conn))
    inner = {"m": "calm", "n": 1.5, "j": {"a": 1}}
    broken = {"m": "wild", "n": "NaN", "j": r'"\u0000"'}
    assert first == {
        "o": {"i": inner, "l": [broken, None], "t": "calm", "b": "\\x00"},
        "os": [{"i": None, "l": [], "t": None, "b": None}],
        "moods": ["calm", None],
        "s": "[1,3]",
        "ss": ["[1,2)"],
        "ts": ["wild"],
    }
    assert empty == dict.fromkeys(first)


@on_pg18  # one server is enough for a test that needs this amount of memory
@pytest.mark.parametrize("renamed", [False, True])
def test_a_value_too_long_for_jsonb_fails_no_writer_and_is_said_to_be_unreadable(
    conn: psycopg.Connection, renamed: bool
) -> None:
    conn.execute("create table product (id int primary key, name text, other text)")
    watch(conn, "product", data=["name", "other"])
    if renamed:
        conn.execute("alter table product rename other to renamed")
    conn.execute("insert into product values (1, repeat('x', 300000000), 'short')")
    assert recorded(conn) == [("insert", [1])]
    [data] = carried(conn)
    assert data["new"] == {"name": None, "other": "short"}
    assert data["unreadable"].startswith('"name": ')
    assert "too long" in data["unreadable"] or "size" in data["unreadable"] or "large" in data["unreadable"]


@pytest.mark.parametrize("renamed", [False, True])
def test_as_many_columns_as_one_likes_are_carried_and_compared(conn: psycopg.Connection, renamed: bool) -> None:
    """The limit of 100 arguments for a function must not limit the columns."""
    names = [f"c{n}" for n in range(120)]
    conn.execute(f"create table product ({', '.join(f'{name} int' for name in names)})".encode())
    watch(conn, "product", "some", key=["c0"], operations=["update"], data=names[:60])
    watch(conn, "product", "all", key=names[:110], operations=["update"], options={"call": "event"})
    conn.execute(f"insert into product values ({', '.join(map(str, range(120)))})".encode())
    if renamed:
        conn.execute("alter table product rename c5 to renamed")
    conn.execute("update product set c7 = -1, c119 = -1")
    values = dict(zip(names, range(120), strict=True))
    after = {**values, "c7": -1}
    expected = {
        "some": {"old": dict(list(values.items())[:60]), "new": dict(list(after.items())[:60]), "changed": ["c7"]},
        "all": {"changed": ["c119", "c7"], "old_key": list(values.values())[:110]},
    }
    assert dict(conn.execute("select watch, data from bridge.event")) == expected
