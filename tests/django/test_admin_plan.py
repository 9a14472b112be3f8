"""The pages are fast however long the log is: no statement reads more of it than it looks at."""

import json
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest

from django_app.admin import log
from django_app.log_index import _BUILD
from tests.fix_postgres import Database, on_pg15, on_pg18

EVENTS = 40_000
DEPTH = 200
ROWS = 50
# Two streams with eight lanes each.
PARTS = 16
NO_CONDITION = log._NO_CONDITION
FILL = """
    insert into bridge.ring (stream, watch, op, key, data, context, at, xid, slot, lane)
    select
        case when n %% 4 = 0 then 'other' else 'default' end, 'w' || n %% 5, 'update', jsonb_build_array(n),
        '{"old": {"price": 1}, "new": {"price": 2}}', '{"user": "anna"}',
        '2026-01-01Z'::timestamptz + n * interval '1 second', (n / 10)::text::xid8, n * 8 / %s, n / 7 %% 8
    from generate_series(1, %s - 1) n
"""

PAGES: dict[str, tuple[dict[str, Any], int]] = {
    "first page": ({}, ROWS),
    "last page": ({}, DEPTH),
    "watch": ({"watch": "w3"}, DEPTH),
    "rare watch": ({"watch": "nothing"}, DEPTH),
    "operation": ({"op": "delete"}, DEPTH),
    "stream": ({"stream": "other"}, DEPTH),
    "time": ({"since": "2001-01-01", "until": "2001-01-02"}, DEPTH),
    "user": ({"user": '"user"\\s*:\\s*"(bob)"'}, DEPTH),
    "key": ({"keys": ["[42]", '["42"]']}, DEPTH),
    "timeline": ({"row_watches": ["w1"], "row_keys": ["[77]"]}, DEPTH),
    "older": ({"before": "1000", "watch": "w3"}, DEPTH),
}


@pytest.fixture
def filled(database: Database) -> Iterator[psycopg.Connection]:
    with psycopg.connect(database.dsn, autocommit=True, cursor_factory=psycopg.ClientCursor) as connection:
        connection.execute("set jit = off")  # as the pages do
        connection.execute("select bridge._add_stream('other')")
        connection.execute(FILL, [EVENTS, EVENTS])
        connection.execute("analyze bridge.event")
        yield connection


def plan(connection: psycopg.Connection, statement: str, values: dict[str, Any]) -> list[dict[str, Any]]:
    """Runs the statement. Returns the nodes of its plan that read the log."""
    explained = connection.execute(
        ("explain (analyze, timing off, format json) " + statement).encode(), {**NO_CONDITION, **values}
    ).fetchone()
    assert explained
    return [node for node in nodes(explained[0][0]["Plan"]) if node.get("Relation Name", "").startswith("event_")]


def nodes(node: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield node
    for child in node.get("Plans", []):
        yield from nodes(child)


def read(found: list[dict[str, Any]]) -> float:
    return float(
        sum((node["Actual Rows"] + node.get("Rows Removed by Filter", 0)) * node["Actual Loops"] for node in found)
    )


def check(connection: psycopg.Connection) -> None:
    for name, (conditions, depth) in PAGES.items():
        paging = {"rows": ROWS, "skip": depth - ROWS, "depth": depth, "with_data": name == "timeline"}
        found = plan(connection, log._LIST, {**conditions, **paging})
        assert {node["Node Type"] for node in found} <= {"Index Scan", "Index Only Scan"}, name
        # One more in each of the eight slots: a merge has to look at the first of each.
        assert read(found) <= PARTS * (depth + 8), f"{name}: {json.dumps(found)}"


@on_pg18
def test_the_lists_read_no_more_than_they_look_at(filled: psycopg.Connection) -> None:
    check(filled)
    found = plan(filled, log._HORIZON, {"depth": DEPTH})
    assert {node["Node Type"] for node in found} <= {"Index Scan", "Index Only Scan"}
    assert read(found) <= PARTS * (DEPTH + 9)
    assert read(plan(filled, log._COUNT, {"most": 500})) <= 501


@on_pg15
def test_the_plans_are_the_same_on_the_oldest_server(filled: psycopg.Connection) -> None:
    check(filled)


@on_pg18
def test_one_event_and_one_transaction_are_found_by_the_index(filled: psycopg.Connection) -> None:
    one = {"before": "2000", "after": "2000", "rows": 1, "skip": 0, "with_data": True}
    for values in ({"stream": "default", "id": 5, "depth": 10_000_000}, {"depth": DEPTH}):
        found = plan(filled, log._LIST, {**one, **values})
        assert {node["Node Type"] for node in found} <= {"Index Scan", "Index Only Scan", "Bitmap Heap Scan"}
        assert read(found) <= 10


@pytest.fixture
def indexed(filled: psycopg.Connection) -> psycopg.Connection:
    for each in _BUILD.split(";\n"):
        if each.strip():
            filled.execute(each.encode())
    filled.execute("analyze bridge.event")
    return filled


@on_pg18
def test_with_its_index_a_time_is_found_without_the_rest_of_the_log(indexed: psycopg.Connection) -> None:
    period = {"since": "2026-01-01 05:00Z", "until": "2026-01-01 05:05Z"}
    values = {**period, "by_time": True, "rows": 400, "skip": 0, "depth": DEPTH, "with_data": False}
    indexed.execute("set enable_seqscan = off")  # the partitions of this test are so small that it pays
    found = plan(indexed, log._LIST, values)
    touched = {
        node["Relation Name"]
        for node in found
        if node["Actual Rows"] + node.get("Rows Removed by Index Recheck", 0) + node.get("Rows Removed by Filter", 0)
    }
    assert len(touched) == 1, f"all eight slots have events: {json.dumps(found)}"
    assert len(indexed.execute(log._LIST.encode(), {**NO_CONDITION, **values}).fetchall()) == 300


@on_pg18
def test_with_its_index_a_timeline_reads_only_its_own_events(indexed: psycopg.Connection) -> None:
    filled = indexed
    row = {"row_watches": ["w1", "w2"], "row_keys": ["[6]", "[7]"]}
    values = {**row, "by_key": True, "rows": 100, "skip": 0, "depth": 10_000, "with_data": True}
    found = plan(filled, log._LIST, values)
    assert {node["Node Type"] for node in found} <= {"Index Scan"}
    assert read(found) == 2
    rows = filled.execute(log._LIST.encode(), {**NO_CONDITION, **values}).fetchall()
    assert [row[5] for row in rows] == ["[7]", "[6]"]


@on_pg18
def test_the_horizon_is_where_the_search_stopped(filled: psycopg.Connection) -> None:
    values = {**NO_CONDITION, "stream": "default"}
    ((xid, _),) = filled.execute(log._HORIZON.encode(), {**values, "depth": DEPTH}).fetchall()
    counted = "select count(*) from bridge.event where stream = 'default' and xid > %s::xid8"
    assert filled.execute(counted, [xid]).fetchall()[0][0] >= DEPTH
    assert filled.execute(log._HORIZON.encode(), {**values, "depth": EVENTS}).fetchall() == []
