"""bridge.plan, bridge.apply and bridge.drift: many watches as data."""

import json
import threading
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import psycopg
import pytest

from bridge.database.connect import connect
from bridge.errors import LockTimeoutError
from bridge.operations import watches
from bridge.watch import Watch
from tests.eventually import eventually
from tests.fix_postgres import Database

PRODUCT = {"name": "product", "relation": "product", "task": "shop.touch"}
OTHER = {"name": "other", "relation": "product", "task": "shop.other", "options": {"source": "django"}}


@pytest.fixture(autouse=True)
def product(conn: psycopg.Connection) -> None:
    conn.execute("create table product (id int primary key, price int)")


@pytest.fixture
def writer(database: Database) -> Iterator[psycopg.Connection]:
    with closing(psycopg.connect(database.dsn)) as connection:
        yield connection


def run(conn: psycopg.Connection, function: str, *wanted: dict[str, Any], prune: bool = False, source: str | None = None) -> dict[str, str]:  # fmt: skip  # noqa: E501
    query = f"select name, action from bridge.{function}(%s::jsonb, %s, %s)"
    return dict(conn.execute(query.encode(), [json.dumps(wanted), prune, source]).fetchall())


def drift(conn: psycopg.Connection) -> list[str]:
    return [row[0] for row in conn.execute("select name from bridge.drift()")]


def test_apply_creates_keeps_and_replaces(conn: psycopg.Connection) -> None:
    assert run(conn, "apply", PRODUCT) == {"product": "create"}
    assert run(conn, "apply", PRODUCT) == {"product": "keep"}
    assert run(conn, "apply", {**PRODUCT, "columns": ["price"]}) == {"product": "replace"}
    assert run(conn, "plan", {**PRODUCT, "columns": ["price"]}) == {"product": "keep"}


def test_plan_changes_nothing(conn: psycopg.Connection) -> None:
    assert run(conn, "plan", PRODUCT) == {"product": "create"}
    assert conn.execute("select count(*) from bridge.watch").fetchone() == (0,)


def test_prune_removes_only_what_the_same_source_declared(conn: psycopg.Connection) -> None:
    run(conn, "apply", PRODUCT, OTHER)
    assert run(conn, "apply") == {}
    assert run(conn, "apply", prune=True, source="django") == {"other": "remove"}
    assert run(conn, "apply", prune=True) == {"product": "remove"}
    assert conn.execute("select count(*) from bridge.watch where removed_at is null").fetchone() == (0,)


def test_all_or_nothing(conn: psycopg.Connection) -> None:
    with pytest.raises(psycopg.Error, match="the condition does not work"):
        run(conn, "apply", PRODUCT, {**OTHER, "condition": "new.nothing = 1"})
    assert conn.execute("select count(*) from bridge.watch").fetchone() == (0,)


@pytest.mark.parametrize(
    ("wanted", "complaint"),
    [
        ([PRODUCT, PRODUCT], 'watch "product" is declared twice'),
        ([{"name": "x", "task": "t"}], "none is named"),
        ([{**PRODUCT, "colour": "red"}], 'unknown parameter "colour"'),
    ],
)
def test_wrong_declarations_are_one_clear_error(
    conn: psycopg.Connection, wanted: list[dict[str, Any]], complaint: str
) -> None:
    with pytest.raises(psycopg.Error, match=complaint):
        run(conn, "plan", *wanted)


def reasons(conn: psycopg.Connection, function: str, *wanted: dict[str, Any]) -> dict[str, str | None]:
    query = f"select name, after ->> 'reason' from bridge.{function}(%s::jsonb) where action = 'later'"
    return dict(conn.execute(query.encode(), [json.dumps(wanted)]).fetchall())


@pytest.mark.parametrize("function", ["plan", "apply"])
def test_a_watch_whose_table_or_column_does_not_exist_yet_is_for_later(conn: psycopg.Connection, function: str) -> None:
    wanted: list[dict[str, Any]] = [
        {**PRODUCT, "name": "table", "relation": '"No Schema".nothing'},
        {**PRODUCT, "name": "columns", "columns": ["price", "size"], "data": ["size", "Colour"]},
        {**PRODUCT, "name": "key", "key": ["uid"], "condition": "new.nothing > 1"},
        {**PRODUCT, "name": "system", "columns": ["ctid"]},
    ]
    assert reasons(conn, function, *wanted) == {
        "table": 'table "No Schema".nothing does not exist',
        "columns": 'table product has no column "Colour", "size"',
        "key": 'table product has no column "uid"',
        "system": 'table product has no column "ctid"',
    }
    assert conn.execute("select count(*) from bridge.watch").fetchone() == (0,)


def test_what_is_for_later_stays_as_it_was_and_stops_no_other_watch(conn: psycopg.Connection) -> None:
    conn.execute("alter table product add column size int")
    wide = {**PRODUCT, "data": ["size"]}
    run(conn, "apply", wide)
    conn.execute("alter table product drop column size")
    assert run(conn, "apply", wide, OTHER, prune=True) == {"product": "later", "other": "create"}
    assert conn.execute("select count(*) from bridge.watch where removed_at is null").fetchone() == (2,)
    conn.execute("insert into product values (1, 1)")
    assert conn.execute("select watch, key from bridge.event order by 1").fetchall() == [
        ("other", [1]),
        ("product", [1]),
    ]
    conn.execute("alter table product add column size int")
    assert run(conn, "apply", wide, OTHER, prune=True)["product"] in ("repair", "replace", "keep")


@pytest.mark.parametrize(
    "damage",
    [
        "alter table product disable trigger bridge_update_product",
        "alter table product disable trigger user",
        "drop trigger bridge_insert_product on product",
        "alter table product drop column price cascade",
        "drop function bridge.capture_product() cascade",
        "update bridge.watch set fingerprint = 'of an older version'",
    ],
)
def test_drift_sees_a_watch_that_no_longer_works_and_apply_mends_it(conn: psycopg.Connection, damage: str) -> None:
    conn.execute("alter table product add column size int")
    wanted = {**PRODUCT, "data": ["size", "price"]}
    run(conn, "apply", wanted)
    assert drift(conn) == []
    conn.execute(damage.encode())
    assert drift(conn) == ["product"]
    if "drop column" in damage:
        wanted["data"] = ["size"]
        assert run(conn, "apply", wanted) == {"product": "replace"}
    else:
        assert run(conn, "apply", wanted) == {"product": "repair"}
    assert drift(conn) == []
    conn.execute("insert into product values (1)")
    assert conn.execute("select key from bridge.event").fetchall() == [([1],)]


@pytest.mark.anyio
async def test_a_waiting_installation_gives_way_and_then_gives_up(
    database: Database, conn: psycopg.Connection, writer: psycopg.Connection
) -> None:
    writer.execute("insert into product values (1)")
    async with connect(database.dsn, "catalog") as connection:
        with pytest.raises(LockTimeoutError, match="nothing was changed"):
            await watches.apply(connection, [Watch(name="product", table="product", task="t")], False, 0.02)
    assert conn.execute("select count(*) from bridge.watch").fetchone() == (0,)


@pytest.mark.anyio
async def test_an_installation_tries_again_until_the_lock_is_free(
    database: Database, conn: psycopg.Connection, writer: psycopg.Connection
) -> None:
    writer.execute("insert into product values (1)")
    waits = "select from pg_locks where relation = 'product'::regclass and not granted"

    def commit_when_it_waits() -> None:
        assert eventually(lambda: bool(conn.execute(waits).fetchall()))
        writer.commit()

    thread = threading.Thread(target=commit_when_it_waits)
    thread.start()
    async with connect(database.dsn, "catalog") as connection:
        [change] = await watches.apply(connection, [Watch(name="product", table="product", task="t")], False, 0.5)
    thread.join()
    assert change.action == "create"
