"""`bridge.alter` makes changes that PostgreSQL refuses where a trigger names the column; the watches follow."""

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import psycopg
import pytest

from tests.capture.around import AFTER, BEFORE, write_around
from tests.capture.log import carried, drift, recorded, watch, watches
from tests.eventually import eventually
from tests.fix_postgres import Database

CONDITION = "new.price > 0 and new.\"State\" <> 'it''s old.price'"
USED: dict[str, Any] = {"key": ["id"], "columns": ["price", "name"], "data": ["name"], "condition": CONDITION}


@pytest.fixture(autouse=True)
def product(conn: psycopg.Connection) -> None:
    conn.execute("create table product (id int, price int, name text, \"State\" text default 'on', unused int)")
    conn.execute("insert into product values (1, 1, 'a')")


def alter(conn: psycopg.Connection, clauses: str, table: str = "product") -> list[str]:
    """Calls bridge.alter and returns the notices."""
    notices: list[str] = []
    conn.add_notice_handler(lambda diagnostic: notices.append(diagnostic.message_primary or ""))
    conn.execute("select bridge.alter(%s, %s)", [table, clauses])
    return notices


def watched(conn: psycopg.Connection) -> list[tuple[Any, ...]]:
    return conn.execute("select columns, condition, key, data from bridge.watch where name = 'w'").fetchall()


def test_a_watch_follows_renamed_columns(conn: psycopg.Connection) -> None:
    watch(conn, "product", **USED)
    for old, new in (("id", '"Number"'), ("price", '"a ""b"'), ("name", "label"), ('"State"', "old")):
        assert alter(conn, f"rename {old} to {new}") == []
    condition = "new.\"a \"\"b\" > 0 and new.old <> 'it''s old.price'"
    assert watched(conn) == [(['a "b', "label"], condition, ["Number"], ["label"])]
    assert drift(conn) == []
    conn.execute('update product set "a ""b" = 2')
    assert recorded(conn) == [("update", [1])]
    assert carried(conn) == [{"old": {"label": "a"}, "new": {"label": "a"}, "changed": ['a "b']}]


@pytest.mark.parametrize(
    ("column", "left"),
    [
        ("price", (["name"], None, ["id"], ["name"])),
        ("name", (["price"], CONDITION, ["id"], None)),
        ('"State"', (["price", "name"], None, ["id"], ["name"])),
        ("unused", (["price", "name"], CONDITION, ["id"], ["name"])),
    ],
)
def test_a_watch_goes_on_without_a_dropped_column_and_says_so(
    conn: psycopg.Connection, column: str, left: tuple[Any, ...]
) -> None:
    watch(conn, "product", **USED)
    notices = alter(conn, f"drop column {column}")
    assert watched(conn) == [left]
    assert any(column.strip('"') in notice for notice in notices) == (column != "unused")
    assert drift(conn) == []
    conn.execute("update product set name = 'b'" if column == "price" else "update product set price = 7")
    assert recorded(conn) == [("update", [1])]


WATCHES: dict[str, dict[str, Any]] = {
    "plain": {},
    "named": {"operations": ["update"], "columns": ["price"], "options": {"named_only": True}},
    "skips": {"columns": ["price"], "condition": "new.price > 1", "options": {"may_skip": True}},
    "always": {"columns": ["price"], "options": {"always": True}},
    "warns": {"condition": "new.price > 1", "options": {"on_error": "warn"}},
    "events": {"options": {"call": "event"}},
}


@pytest.mark.parametrize("partitioned", [False, True])
@pytest.mark.parametrize(
    "change", ["alter price type bigint", "rename price to cost", "alter price type numeric, add n int"]
)
def test_every_kind_of_watch_goes_on_as_it_was(
    database: Database, conn: psycopg.Connection, change: str, partitioned: bool
) -> None:
    if partitioned:
        conn.execute(
            """
            drop table product;
            create table product (id int, price int, name text) partition by range (id);
            create table product_1 (name text, dropped int, price int, id int);
            alter table product_1 drop dropped;
            alter table product attach partition product_1 for values from (minvalue) to (1000);
            create table product_2 partition of product for values from (1000) to (maxvalue);
            """
        )
    for name, parameters in WATCHES.items():
        watch(conn, "product", name, key=["id"], **parameters)
    now = "price"

    def write(session: psycopg.Connection, number: int) -> None:
        target = "product_1" if partitioned and number % 2 else "product"
        session.execute(f"insert into {target} (id, {now}) values ({number}, 1)".encode())
        session.execute(f"update {target} set {now} = 2 where id = {number}".encode())
        session.execute(f"update {target} set name = 'b' where id = {number}".encode())

    def make_it(session: psycopg.Connection) -> None:
        nonlocal now
        session.execute("select bridge.alter('product', %s)", [change])
        now = "cost" if "cost" in change else "price"

    write_around(database, write, make_it)
    expected = sorted((n, *each) for n in (BEFORE, *AFTER) for each in _expected())
    found = conn.execute("select (key ->> 0)::int, op, watch from bridge.event").fetchall()
    assert sorted(found) == expected
    assert drift(conn) == []


def _expected() -> list[tuple[str, str]]:
    inserted = [("insert", name) for name in ("plain", "always", "events")]
    repriced = [("update", name) for name in WATCHES]
    renamed = [("update", name) for name in ("plain", "warns", "events")]
    return inserted + repriced + renamed


def test_alter_gives_up_after_the_lock_timeout_and_changes_nothing(
    database: Database, conn: psycopg.Connection
) -> None:
    watch(conn, "product", **USED)
    before = watched(conn)
    with database.connect() as writer, writer.transaction():
        writer.execute("update product set price = 5")
        conn.execute("set lock_timeout = '20ms'")
        with pytest.raises(psycopg.errors.LockNotAvailable):
            alter(conn, "rename price to cost")
        assert conn.execute("show lock_timeout").fetchone() == ("20ms",)
    assert watched(conn) == before
    assert drift(conn) == []


def test_alter_of_a_partition_never_waits_for_the_parent_while_it_holds_the_partition(
    database: Database, conn: psycopg.Connection
) -> None:
    """A writer that holds the parent and wants the partition would deadlock, and PostgreSQL could end the writer."""
    conn.execute("create table whole (id int, price int) partition by range (id)")
    conn.execute("create table part partition of whole default")
    watch(conn, "whole", key=["id"], columns=["price"])
    conn.execute("alter table whole rename price to cost")
    waits = "select wait_event_type in ('Lock', 'Timeout') from pg_stat_activity where pid = %s"
    with database.connect() as writer, database.connect() as other, ThreadPoolExecutor(1) as pool:
        with writer.transaction():
            writer.execute("lock table only whole in row exclusive mode")
            altered = pool.submit(alter, other, "set (fillfactor = 50)", "part")
            assert eventually(lambda: conn.execute(waits, [other.info.backend_pid]).fetchone() == (True,))
            writer.execute("set local lock_timeout = '2s'")
            writer.execute("update whole set cost = 1")
        altered.result(timeout=20)
    assert drift(conn) == []


@pytest.mark.parametrize(
    ("clauses", "error"),
    [
        ("alter price type uuid using 'x'::uuid", psycopg.errors.InvalidTextRepresentation),
        ("drop price, drop price", psycopg.errors.UndefinedColumn),
        ("nonsense", psycopg.errors.SyntaxError),
    ],
)
def test_a_clause_that_fails_changes_nothing(
    conn: psycopg.Connection, clauses: str, error: type[psycopg.Error]
) -> None:
    watch(conn, "product", **USED)
    before = watched(conn)
    with pytest.raises(error):
        alter(conn, clauses)
    assert watched(conn) == before
    conn.execute("update product set unused = 1")
    conn.execute("update product set price = 5")
    assert recorded(conn) == [("update", [1])]
    assert drift(conn) == []


def test_between_stepping_aside_and_back_every_change_is_recorded(conn: psycopg.Connection) -> None:
    watch(conn, "product", **USED)
    with conn.transaction():
        assert conn.execute("select bridge.step_aside('product')").fetchone() == (True,)
        assert drift(conn) == ["w"]
        conn.execute("update product set unused = 1")
        conn.execute("alter table product alter price type text")
        conn.execute("update product set price = '0'")
        conn.execute("alter table product alter price type int using price::int, drop unused")
        conn.execute("select bridge.step_back('product')")
    assert recorded(conn) == [("update", [1])] * 2
    conn.execute("update product set price = -1")
    assert recorded(conn) == [("update", [1])] * 2
    assert drift(conn) == []
    assert conn.execute("select bridge.step_aside('bridge.inbox')").fetchone() == (False,)


@pytest.mark.parametrize(
    ("table", "aside"),
    [
        ("whole", ["leaf", "whole"]),
        ("middle", ["leaf", "whole"]),
        ("leaf", ["leaf", "whole"]),
        ("other", ["whole"]),
        ("product", ["product"]),
        ("lone", []),
    ],
)
def test_only_watches_of_the_table_its_partitions_and_its_parents_step_aside(
    conn: psycopg.Connection, table: str, aside: list[str]
) -> None:
    conn.execute(
        "create table whole (id int primary key) partition by range (id);"
        "create table middle partition of whole for values from (0) to (50) partition by range (id);"
        "create table leaf partition of middle for values from (0) to (10);"
        "create table other partition of whole for values from (50) to (90);"
        "create table lone (id int primary key)"
    )
    for name in ("whole", "leaf", "product"):
        conn.execute("select bridge.watch(%s, %s, 'shop.touch', key => '{id}')", [name, name])
    assert conn.execute("select bridge.step_aside(%s)", [table]).fetchone() == (aside != [],)
    assert drift(conn) == aside
    conn.execute("select bridge.step_back(%s)", [table])
    assert drift(conn) == []


TYPES = {
    "add attribute": ("alter type pair add attribute m text", "(1,x,z)", {"n": 1, "note": "x", "m": "z"}),
    "drop attribute": ("alter type pair drop attribute note", "(1)", {"n": 1}),
    "rename attribute": ("alter type pair rename attribute note to m", "(1,x)", {"n": 1, "m": "x"}),
    "swap": (
        "alter type pair drop attribute n; alter type pair add attribute n text",
        "(x,1)",
        {"note": "x", "n": "1"},
    ),
    "enum": ("alter type mood rename value 'calm' to 'quiet'", None, None),
    "domain": ("alter domain tone drop constraint tone_check, add check (length(value) < 9)", None, None),
}


@pytest.mark.parametrize("change", TYPES)
def test_a_composite_type_may_change_while_sessions_write(
    database: Database, conn: psycopg.Connection, change: str
) -> None:
    statements, literal, expected = TYPES[change]
    conn.execute("create type pair as (n int, note text); create type mood as enum ('calm')")
    conn.execute("create domain tone as text check (value <> '')")
    conn.execute("create table own (id int, p pair, ps pair[], m mood, t tone)")
    watch(conn, "own", key=["id"], operations=["insert"], data=["p", "ps", "m", "t"])
    value, mood = "(1,x)", "calm"

    def write(session: psycopg.Connection, number: int) -> None:
        values = f"{number}, '{value}', array['{value}']::pair[], '{mood}', 't'"
        session.execute(f"insert into own values ({values})".encode())

    def make_it(session: psycopg.Connection) -> None:
        nonlocal value, mood
        for statement in statements.replace(" tone_check, add", " tone_check; alter domain tone add").split("; "):
            session.execute(statement.encode())
        value, mood = literal or value, "quiet" if change == "enum" else mood

    write_around(database, write, make_it)
    before: Any = {"n": 1, "note": "x"}
    after = [({"p": expected or before, "ps": [expected or before]})] * len(AFTER)
    if expected is not None:
        # The snapshots of these sessions don't show what the type consists of now.
        after[3] = after[4] = {"p": value, "ps": f'{{"{value}"}}' if "," in value else f"{{{value}}}"}
    found = [data["new"] for data in carried(conn)]
    assert found[0] == {"p": before, "ps": [before], "m": "calm", "t": "t"}
    assert found[1:] == [{**parts, "m": mood, "t": "t"} for parts in after]


@pytest.mark.parametrize(
    "damage", ["drop function bridge.capture_hurt() cascade", "alter trigger bridge_update_hurt on product rename to x"]
)
def test_a_watch_that_somebody_has_damaged_is_in_no_changes_way(conn: psycopg.Connection, damage: str) -> None:
    """The damage hinders neither the change nor the other watches, and the change repairs the damaged watch."""
    for name in ("hurt", "well"):
        watch(conn, "product", name, **USED)
    conn.execute(damage.encode())
    conn.execute("select bridge.alter('product', 'alter price type bigint')")
    conn.execute("update product set price = 2")
    assert sorted(watches(conn)) == ["hurt", "well"]
    assert drift(conn) == []


def test_a_watch_that_has_lost_its_function_and_its_key_is_in_no_changes_way(conn: psycopg.Connection) -> None:
    """That watch can't be made again and stays in drift. The other watches follow the change."""
    for name, key in (("hurt", "unused"), ("well", "id")):
        watch(conn, "product", name, **USED | {"key": [key]})
    conn.execute("drop function bridge.capture_hurt() cascade; alter table product drop unused")
    assert any("hurt" in notice and "records no change" in notice for notice in alter(conn, "alter price type bigint"))
    conn.execute("update product set price = 2")
    assert watches(conn) == ["well"]
    assert drift(conn) == ["hurt"]
