"""Generated columns: stored ones behave like other columns, virtual ones have no value in a trigger."""

from typing import Any

import psycopg
import pytest

from tests.capture.log import carried, recorded, watch
from tests.fix_postgres import on_pg18


@pytest.fixture
def stored(conn: psycopg.Connection) -> None:
    conn.execute("create table product (id int primary key, net int, gross int generated always as (net * 2) stored)")


@pytest.fixture
def virtual(conn: psycopg.Connection) -> None:
    conn.execute("create table product (id int primary key, net int, gross int generated always as (net * 2) virtual)")


@pytest.fixture
def partitioned(conn: psycopg.Connection) -> None:
    conn.execute(
        "create table product (id int, net int, gross int generated always as (net * 2) stored) partition by range (id)"
    )
    conn.execute("create table product_1 partition of product for values from (1) to (10)")
    conn.execute("create table product_2 partition of product for values from (10) to (20)")


@pytest.mark.usefixtures("stored")
def test_a_stored_generated_column_can_be_watched_and_carried(conn: psycopg.Connection) -> None:
    watch(conn, "product", columns=["gross"], data=["gross"], condition="coalesce(new.gross, 0) < 100")
    conn.execute("insert into product values (1, 5)")
    conn.execute("update product set net = 6")
    conn.execute("update product set net = 6")
    conn.execute("update product set net = 60")
    assert carried(conn) == [
        {"new": {"gross": 10}},
        {"old": {"gross": 10}, "new": {"gross": 12}, "changed": ["gross"]},
    ]


@on_pg18
@pytest.mark.usefixtures("virtual")
@pytest.mark.parametrize("use", [{"columns": ["gross"]}, {"data": ["gross"]}, {"key": ["gross"]}])
def test_a_virtual_generated_column_is_refused(conn: psycopg.Connection, use: dict[str, Any]) -> None:
    with pytest.raises(psycopg.Error, match=r'triggers can\'t read the generated column "gross"'):
        watch(conn, "product", **use)


@on_pg18
@pytest.mark.usefixtures("virtual")
@pytest.mark.parametrize("operations", [["update"], ["insert", "update"]])
def test_a_condition_on_a_virtual_generated_column_is_refused(conn: psycopg.Connection, operations: list[str]) -> None:
    with pytest.raises(psycopg.Error, match=r'triggers can\'t read the generated column "gross"'):
        watch(conn, "product", operations=operations, condition="new.gross > 1")
    assert conn.execute("select count(*) from bridge.watch").fetchone() == (0,)


@on_pg18
@pytest.mark.usefixtures("virtual")
def test_a_table_with_a_virtual_generated_column_is_watched(conn: psycopg.Connection) -> None:
    watch(conn, "product", options={"call": "event"})
    conn.execute("insert into product values (1, 5)")
    conn.execute("update product set net = 6")
    assert recorded(conn) == [("insert", [1]), ("update", [1])]
    assert carried(conn) == [None, {"changed": ["net"]}]


@pytest.mark.usefixtures("partitioned")
def test_updates_of_a_partitioned_table_carry_no_generated_column(conn: psycopg.Connection) -> None:
    with pytest.raises(psycopg.Error, match=r'triggers can\'t read the generated column "gross"'):
        watch(conn, "product", key=["id"], data=["gross"])
    with pytest.raises(psycopg.Error, match="generated column"):
        watch(conn, "product", key=["id"], condition="new.gross > 1")
    watch(conn, "product", key=["id"], operations=["update"], options={"call": "event"})
    conn.execute("insert into product values (1, 5)")
    conn.execute("update product set id = 11, net = 6")
    assert carried(conn) == [{"changed": ["id", "net"], "old_key": [1]}]


@pytest.mark.usefixtures("partitioned")
def test_inserts_into_a_partitioned_table_carry_stored_generated_columns(conn: psycopg.Connection) -> None:
    watch(conn, "product", key=["id"], operations=["insert"], data=["gross"])
    conn.execute("insert into product values (1, 5)")
    assert carried(conn) == [{"new": {"gross": 10}}]
