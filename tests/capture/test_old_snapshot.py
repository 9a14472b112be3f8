"""Transactions whose snapshot is older than the table's definition: the new definition captures what they write."""

import psycopg
import pytest

from tests.capture.log import carried, watch
from tests.fix_postgres import Database, on_pg15

# A cast to json that would run with the rights of the role that owns the schema bridge.
PLANTED = """
    create type mood as enum ('calm');
    create function planted(mood) returns json language plpgsql as
        $$ begin insert into public.reached values (current_user); return '"planted"'; end $$;
    create cast (mood as json) with function planted(mood);
"""
YOUNG_TYPES = {
    "enum": ("alter table product alter name type mood using null", "'calm'"),
    "domain": ("create domain tone as mood; alter table product alter name type tone using null", "'calm'"),
    "array": ("alter table product alter name type mood[] using null", "'{calm}'"),
    "row of a table": ("create table other (m mood); alter table product alter name type other using null", "'(calm)'"),
    "composite that gets an attribute": (
        "alter type pair add attribute m mood; alter table product alter name type pair using null",
        "'(1,calm)'",
    ),
    "composite that gets one while it is in use": ("alter type pair add attribute m mood", "'(1,calm)'"),
    "composite whose attribute gets another type": (
        "alter type pair alter attribute n type mood; alter table product alter name type pair using null",
        "'(calm)'",
    ),
    "array of composites": (
        "alter type pair add attribute m mood; alter table product alter name type pair[] using null",
        """'{"(1,calm)"}'""",
    ),
}


@pytest.mark.parametrize("isolation", ["read committed", "repeatable read"])
def test_a_type_younger_than_the_snapshot_is_carried_and_its_casts_do_not_run(
    database: Database, conn: psycopg.Connection, isolation: str
) -> None:
    """The catalogs of the snapshot don't show what such a type consists of, so the event carries the value's text."""
    for case, (change, value) in YOUNG_TYPES.items():
        conn.execute(
            "drop table if exists product, reached; drop type if exists pair, mood cascade; drop table if exists other"
        )
        conn.execute("create type pair as (n int); create table reached (by_role name)")
        kind = "pair" if "in use" in case else "text"
        conn.execute(f"create table product (id int primary key, name {kind})".encode())
        watch(conn, "product", data=["name"])
        conn.execute("truncate bridge.event")
        with database.connect() as old:
            old.execute(f"begin isolation level {isolation}".encode())
            old.execute("select from reached")
            conn.execute((PLANTED + change).encode())
            old.execute(f"insert into product values (1, {value})".encode())
            old.execute("commit")
        assert (case, conn.execute("select * from reached").fetchall()) == (case, [])
        [data] = carried(conn)
        assert "calm" in str(data["new"]["name"]), case
        assert "unreadable" not in data


def test_a_column_younger_than_the_snapshot_is_among_the_changed_ones(
    database: Database, conn: psycopg.Connection
) -> None:
    conn.execute("create table product (id int primary key); create table elsewhere ()")
    watch(conn, "product", operations=["update"], options={"call": "event"})
    with database.connect() as old:
        old.execute("begin isolation level repeatable read")
        old.execute("select from elsewhere")
        conn.execute("alter table product add size int, add half int generated always as (size / 2) stored")
        old.execute("insert into product values (1)")
        old.execute("update product set size = 4")
        old.execute("commit")
    assert carried(conn) == [{"changed": ["half", "size"]}]


@on_pg15  # the embedded server has no ICU
def test_a_change_of_letters_case_counts_after_the_collation_has_changed(conn: psycopg.Connection) -> None:
    """A plan that compares two variables ignores the collation, so sessions could keep using the old collation."""
    conn.execute("create collation caseless (provider = icu, locale = 'und-u-ks-level2', deterministic = false)")
    conn.execute("create table product (id text, name text)")
    watch(conn, "product", key=["id"], operations=["update"], data=["name"])
    conn.execute("insert into product values ('a', 'a')")
    conn.execute("alter table product alter id type text collate caseless, alter name type text collate caseless")
    for _ in range(8):
        conn.execute("update product set id = upper(id), name = upper(name)")
        conn.execute("update product set id = lower(id), name = lower(name)")
    assert len(carried(conn)) == 16
    for data in carried(conn):
        assert data["changed"] == ["name"]
        assert "old_key" in data
