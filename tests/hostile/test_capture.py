"""Capture runs no code of a table's owner with the rights of the schema's owner, whatever the table consists of.

The attacker owns the table and writes into it. A superuser, who has installed the bridge, watches the table. All
parts of a table that can run code do so here: casts, operators, domains, partition keys, index expressions, policies.
"""

from collections.abc import Iterator
from typing import Any

import psycopg
import pytest
from psycopg import sql
from psycopg.types.json import Jsonb

from tests.fix_hostile import Hostile

pytestmark = [pytest.mark.parametrize("path", ["default"], indirect=True)]

_MOOD = """
    create type evil.mood as enum ('sad', 'glad');
    create function evil.as_{type}(evil.mood) returns {type} language plpgsql as
        $$ begin perform evil.hit(0); return {value}; end $$;
    create cast (evil.mood as {type}) with function evil.as_{type} as implicit;
"""
_AS_JSON = _MOOD.format(type="json", value="'1'")
_FOLDED = """
    create function evil.folded(integer) returns integer language plpgsql immutable as
        $$ begin perform evil.hit(0); return $1; end $$;
"""
_AREA = """
    create function evil.area(integer) returns text language plpgsql immutable as
        $$ begin perform evil.hit(0); return case when $1 > 5 then 'south' else 'north' end; end $$;
    create table evil.thing (id int, note int) partition by list (evil.area(note));
    create table evil.thing_north partition of evil.thing for values in ('north');
    create table evil.thing_south partition of evil.thing for values in ('south');
"""
_THING = "create table evil.thing (id int primary key, note {type});"
_PLAIN = _THING.format(type="int")
_INTEGERS = ("1", "7")

# Each value is the statements that make the table, and two values of its column `note`.
TABLES: dict[str, tuple[str, tuple[str, str]]] = {
    "cast_to_json": (_AS_JSON + _THING.format(type="evil.mood"), ("'sad'", "'glad'")),
    "cast_to_jsonb": (
        _MOOD.format(type="jsonb", value="'1'") + _THING.format(type="evil.mood"),
        ("'sad'", "'glad'"),
    ),
    "cast_to_text": (
        _MOOD.format(type="text", value="'1'") + _THING.format(type="evil.mood"),
        ("'sad'", "'glad'"),
    ),
    "cast_in_an_array": (
        _AS_JSON + _THING.format(type="evil.mood[]"),
        ("'{sad}'", "'{glad}'"),
    ),
    "cast_in_a_composite": (
        _AS_JSON + "create type evil.pair as (a int, b evil.mood);" + _THING.format(type="evil.pair"),
        ("'(1,sad)'", "'(1,glad)'"),
    ),
    "cast_in_a_domain": (
        _AS_JSON + "create domain evil.mine as evil.mood;" + _THING.format(type="evil.mine"),
        ("'sad'", "'glad'"),
    ),
    "cast_in_an_array_of_a_composite": (
        _AS_JSON + "create type evil.pair as (a int, b evil.mood[]);" + _THING.format(type="evil.pair[]"),
        ("""'{"(1,{sad})"}'""", """'{"(1,{glad})"}'"""),
    ),
    "cast_of_a_composite": (
        """
        create type evil.pair as (a int, b int);
        create function evil.as_json(evil.pair) returns json language plpgsql as
            $$ begin perform evil.hit(0); return '1'; end $$;
        create cast (evil.pair as json) with function evil.as_json;
        create table evil.thing (id int primary key, note evil.pair)
        """,
        ("'(1,1)'", "'(1,2)'"),
    ),
    "domain_with_a_check": (
        "create domain evil.mine as int check (evil.hit(0));" + _THING.format(type="evil.mine"),
        _INTEGERS,
    ),
    "domain_over_numeric_with_a_check": (
        "create domain evil.mine as numeric check (evil.hit(0));" + _THING.format(type="evil.mine"),
        _INTEGERS,
    ),
    "range_with_functions": (
        """
        create function evil.distance(int, int) returns float8 language plpgsql immutable as
            $$ begin perform evil.hit(0); return 1; end $$;
        create type evil.span as range (subtype = int, subtype_diff = evil.distance);
        create table evil.thing (id int primary key, note evil.span)
        """,
        ("'[1,2)'", "'[1,3)'"),
    ),
    "operators_of_its_own": (
        """
        create type evil.mood as enum ('sad', 'glad');
        create function evil.differs(evil.mood, evil.mood) returns boolean language plpgsql as
            $$ begin perform evil.hit(0); return true; end $$;
        create operator public.= (function = evil.differs, leftarg = evil.mood, rightarg = evil.mood);
        create operator public.<> (function = evil.differs, leftarg = evil.mood, rightarg = evil.mood);
        create table evil.thing (id int primary key, note evil.mood)
        """,
        ("'sad'", "'glad'"),
    ),
    "partition_key_is_a_function": (_AREA, _INTEGERS),
    "index_over_a_function": (
        _FOLDED + _PLAIN + "create index on evil.thing ((evil.folded(1) + note))",
        _INTEGERS,
    ),
    "index_with_a_condition": (
        _FOLDED + _PLAIN + "create index on evil.thing (id) where evil.folded(1) = 1",
        _INTEGERS,
    ),
    "check_constraint": (_FOLDED + _PLAIN + "alter table evil.thing add check (evil.folded(1) = 1)", _INTEGERS),
    "statistics_over_a_function": (
        _FOLDED + _PLAIN + "create statistics evil.counts on (evil.folded(1) + note), id from evil.thing",
        _INTEGERS,
    ),
    "generated_column": (
        _FOLDED + _PLAIN + "alter table evil.thing add more int generated always as (evil.folded(1) + note) stored",
        _INTEGERS,
    ),
    "column_default": (
        "create table evil.thing (id int primary key, note int, more boolean default evil.hit(0))",
        _INTEGERS,
    ),
    "row_security": (
        _FOLDED + _PLAIN + """
        alter table evil.thing enable row level security;
        alter table evil.thing force row level security;
        create policy mine on evil.thing using (evil.folded(1) = 1 and evil.hit(0)) with check (evil.hit(0))
        """,
        _INTEGERS,
    ),
    "rule": (_PLAIN + "create rule more as on update to evil.thing do also select evil.hit(0)", _INTEGERS),
}  # fmt: skip
WATCHES: dict[str, dict[str, Any]] = {
    "key": {"key": ["note"]},
    "data": {"key": ["id"], "data": ["note"], "options": {"call": "event"}},
    "columns": {"key": ["id"], "operations": ["update"], "columns": ["note"]},
    "warn": {"key": ["id"], "data": ["note"], "options": {"on_error": "warn"}},
}


@pytest.fixture
def conn(kept: Hostile) -> Iterator[psycopg.Connection]:
    """Yields a superuser's connection. Everything that is done on it is rolled back."""
    with kept.connect() as conn, conn.transaction(force_rollback=True):
        yield conn


def become(conn: psycopg.Connection, role: str) -> None:
    conn.execute(sql.SQL("set local role {}").format(sql.Identifier(role)))


def watch(conn: psycopg.Connection, **parameters: Any) -> None:
    """Calls bridge.watch as the superuser."""
    conn.execute("reset role")
    given = {name: Jsonb(value) if name == "options" else value for name, value in parameters.items()}
    call = ", ".join(f"{name} => %({name})s" for name in given)
    conn.execute(f"select bridge.watch('thing', 'evil.thing', 'shop.tasks.thing', {call})".encode(), given)


@pytest.mark.parametrize("rule", WATCHES)
@pytest.mark.parametrize("table", TABLES)
def test_capture_runs_no_code_of_the_table(kept: Hostile, conn: psycopg.Connection, table: str, rule: str) -> None:
    setup, (first, second) = TABLES[table]
    become(conn, kept.attacker)
    conn.execute(setup.encode())
    watch(conn, **WATCHES[rule])
    assert kept.reached() == [], "bridge.watch() must not run the planted object"
    become(conn, kept.attacker)
    for statement in (
        f"insert into evil.thing (id, note) values (1, {first})",
        f"update evil.thing set note = {second} where id = 1",
        "update evil.thing set id = 2",
        "delete from evil.thing",
    ):
        conn.execute(statement.encode())
    conn.execute("reset role")
    [(events,)] = conn.execute("select count(*) from bridge.event where watch = 'thing'").fetchall()
    assert (events > 0, kept.reached()) == (True, [])
    conn.execute("update bridge.watch set fingerprint = ''")
    conn.execute("select bridge.drift()")
    assert kept.reached() == []


_MORE = "alter table evil.thing add column {name} evil.mood default 'sad';"
CHANGES = {
    "retyped": "alter table evil.thing alter column note type evil.mood using 'sad'",
    "added": _MORE.format(name="more"),
    "replaced": "alter table evil.thing rename note to gone;" + _MORE.format(name="note"),
    "dropped": "alter table evil.thing drop column note;" + _MORE.format(name="note"),
    "indexed": "create index on evil.thing ((evil.folded(1) + id))",
    "checked": "alter table evil.thing add check (evil.folded(1) = 1)",
}


@pytest.mark.parametrize("change", CHANGES)
def test_capture_runs_no_code_of_a_table_that_was_changed(kept: Hostile, conn: psycopg.Connection, change: str) -> None:
    """The owner may change the table at any time after the watch was made, and between two writes of a session."""
    write = "insert into evil.thing (id) values (%s)"
    become(conn, kept.attacker)
    conn.execute((_PLAIN + _AS_JSON + _FOLDED).encode())
    watch(conn, key=["id"], data=["note"])
    become(conn, kept.attacker)
    conn.execute(write.encode(), [1])
    conn.execute(CHANGES[change].encode())
    conn.execute(write.encode(), [2])
    conn.execute("update evil.thing set id = id operator(pg_catalog.+) 10")
    conn.execute("delete from evil.thing")
    conn.execute("reset role")
    [(events,)] = conn.execute("select count(*) from bridge.event where watch = 'thing'").fetchall()
    assert (events, kept.reached()) == (6, [])


@pytest.mark.parametrize("operations", [["insert"], ["insert", "update", "delete"], ["update"]])
@pytest.mark.parametrize("on_error", ["fail", "warn"])
def test_a_condition_runs_no_cast_of_the_table_with_more_rights(
    kept: Hostile, conn: psycopg.Connection, operations: list[str], on_error: str
) -> None:
    """Casts have no schema: a comparison with a number uses the cast that the type's owner made."""
    become(conn, kept.attacker)
    conn.execute(_MOOD.format(type="integer", value="7").encode())
    conn.execute("create table evil.thing (id int primary key, note evil.mood)")
    wanted: dict[str, Any] = {"condition": "new.note > 5", "options": {"on_error": on_error}}
    if on_error == "warn":
        # With on_error "warn" the capture function evaluates the condition, with the owner's rights.
        with pytest.raises(psycopg.errors.InvalidParameterValue, match="only objects of PostgreSQL itself"):
            watch(conn, operations=operations, **wanted)
        return
    watch(conn, operations=operations, **wanted)
    become(conn, kept.attacker)
    conn.execute("insert into evil.thing values (1, 'sad')")
    conn.execute("update evil.thing set note = 'glad'")
    assert kept.reached() == []


@pytest.mark.parametrize(
    ("statement", "events"),
    # A moved row counts as an update, a delete and an insert.
    [("update evil.thing set note = 7", 4), ("insert into evil.thing values (2, 7)", 2)],
)
def test_a_partition_function_that_needs_the_writers_path_does_not_fail_the_writer(
    kept: Hostile, conn: psycopg.Connection, statement: str, events: int
) -> None:
    become(conn, kept.attacker)
    conn.execute("create function evil.limit_() returns integer language sql immutable as 'select 5'")
    conn.execute(_AREA.replace("perform evil.hit(0);", "").replace("$1 > 5", "$1 > limit_()").encode())
    watch(conn, key=["id"])
    become(conn, kept.attacker)
    conn.execute("set local search_path = evil")
    conn.execute("insert into evil.thing values (1, 1)")
    conn.execute(statement.encode())
    conn.execute("reset role")
    assert conn.execute("select count(*) from bridge.event where watch = 'thing'").fetchone() == (events,)
