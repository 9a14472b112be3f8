"""Replicas (session_replication_role, logical replication): capture is silent there, unless a watch says always."""

from collections.abc import Iterator
from contextlib import closing

import psycopg
import pytest

from tests.capture.log import ROWS, drift, each, mend, recorded, watch
from tests.eventually import eventually
from tests.fix_postgres import TRIGGERS_SQL
from tools.servers import Postgres

TABLE = "create table product (id int primary key, price int)"


@pytest.fixture
def product(conn: psycopg.Connection) -> None:
    conn.execute(TABLE)


@ROWS
@pytest.mark.usefixtures("product")
@pytest.mark.parametrize(("options", "silent"), [({}, True), ({"always": True}, False)], ids=["default", "always"])
def test_in_a_replica_session_only_always_records(
    conn: psycopg.Connection, options: dict[str, bool], silent: bool, rows: int
) -> None:
    watch(conn, "product", operations=["insert", "truncate"], options=options)
    conn.execute("set session_replication_role = replica")
    conn.execute("insert into product select generate_series(1, %s)", [rows])
    conn.execute("truncate product")
    assert recorded(conn) == ([] if silent else [*each("insert", rows), ("truncate", None)])


@pytest.mark.usefixtures("product")
@pytest.mark.parametrize("role", ["origin", "local"])
def test_in_any_other_session_every_watch_records(conn: psycopg.Connection, role: str) -> None:
    watch(conn, "product")
    watch(conn, "product", "always", options={"always": True})
    conn.execute(f"set session_replication_role = {role}".encode())
    conn.execute("insert into product values (1)")
    assert len(recorded(conn)) == 2


@pytest.mark.usefixtures("product")
def test_always_holds_for_partitions_that_are_attached_later(conn: psycopg.Connection) -> None:
    conn.execute("create table whole (id int not null, price int) partition by range (id)")
    watch(conn, "whole", key=["id"], options={"always": True})
    conn.execute("alter table whole attach partition product for values from (1) to (10)")
    conn.execute("set session_replication_role = replica")
    conn.execute("insert into product values (1)")
    assert recorded(conn) == [("insert", [1])]


@pytest.mark.usefixtures("product")
def test_always_that_was_lost_is_drift(conn: psycopg.Connection) -> None:
    """`pg_restore --disable-triggers` switches triggers off and on, and does not restore their former state."""
    always = {"options": {"always": True}}
    mend(conn, **always)
    conn.execute("alter table product disable trigger all")
    conn.execute("alter table product enable trigger all")
    assert (drift(conn), mend(conn, **always), drift(conn)) == (["w"], ["repair"], [])
    conn.execute("set session_replication_role = replica")
    conn.execute("insert into product values (1)")
    assert recorded(conn) == [("insert", [1])]


@pytest.fixture(scope="module")
def publisher() -> Iterator[Postgres]:
    with Postgres(settings={"wal_level": "logical"}) as server:
        yield server


def test_logical_replication_is_recorded_by_always_only(publisher: Postgres) -> None:
    with closing(psycopg.connect(publisher.dsn(), autocommit=True)) as source:
        source.execute("create database copy")
        source.execute(TABLE)
        source.execute("insert into product values (1)")
        source.execute("create publication all_of_it for table product")
        with closing(psycopg.connect(publisher.dsn("copy"), autocommit=True)) as target:
            target.execute(TRIGGERS_SQL.read_bytes())
            target.execute(TABLE)
            every = ["insert", "update", "delete", "truncate"]
            watch(target, "product", "silent", operations=every)
            watch(target, "product", "always", operations=every, options={"always": True})
            # Inside one cluster the slot is made by hand, because creating it would wait for its own transaction.
            source.execute("select pg_create_logical_replication_slot('copying', 'pgoutput')")
            connection = f"host={publisher.socket_dir} user=postgres dbname=postgres"
            target.execute(
                f"create subscription copying connection '{connection}' publication all_of_it "
                "with (create_slot = false)".encode()
            )
            try:
                # The first copy of the table arrives first, then the changes.
                assert eventually(lambda: recorded(target) == [("insert", [1])])
                for statement in (
                    "insert into product values (2), (3)",
                    "update product set price = 1, id = 7 where id = 2",
                    "delete from product where id = 3",
                    "truncate product",
                ):
                    source.execute(statement.encode())
                assert eventually(lambda: ("truncate", None) in recorded(target))
                applied = [("insert", [2]), ("insert", [3]), ("update", [7]), ("delete", [3]), ("truncate", None)]
                assert recorded(target) == [("insert", [1]), *applied]
                assert {row[0] for row in target.execute("select watch from bridge.event")} == {"always"}
            finally:
                target.execute("drop subscription copying")


def test_always_and_ordinary_watches_on_partitioned_tables_are_no_drift(conn: psycopg.Connection) -> None:
    """All watches share the function that notes moves of rows."""
    for table in ("whole", "other"):
        conn.execute(f"create table {table} (id int primary key) partition by range (id)".encode())
        conn.execute(f"create table {table}_1 partition of {table} default".encode())
    watch(conn, "whole", "one")
    watch(conn, "whole", "two", options={"always": True})
    watch(conn, "other", "three")
    assert drift(conn) == []
