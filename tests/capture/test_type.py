"""Values of every type: carried, compared, and in JSON whatever the settings of the writer's session."""

from typing import Any

import psycopg
import pytest

from tests.capture.log import carried, recorded, watch
from tests.fix_postgres import on_pg15

# Type, two literals that differ, the first one in JSON.
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


@on_pg15  # the embedded server knows no ICU
def test_text_that_is_equal_but_not_the_same_has_changed(conn: psycopg.Connection) -> None:
    conn.execute("create collation caseless (provider = icu, locale = 'und-u-ks-level2', deterministic = false)")
    conn.execute("create table t (id int primary key, v text collate caseless)")
    watch(conn, "t", operations=["update"], columns=["v"])
    conn.execute("insert into t values (1, 'a')")
    conn.execute("update t set v = 'a'")
    conn.execute("update t set v = 'A'")
    assert recorded(conn) == [("update", [1])]


@on_pg15  # the embedded server knows no XML
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
