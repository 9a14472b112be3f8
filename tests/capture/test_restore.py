"""pg_dump and pg_restore: of the data alone, and of everything into another database."""

import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

from tests.capture.log import ROWS, drift, each, recorded, watch
from tests.fix_postgres import Database, PgServer
from tools.servers import Postgres


@pytest.fixture(autouse=True)
def product(conn: psycopg.Connection) -> None:
    conn.execute("create schema shop")
    conn.execute('create table shop."Product" (id int primary key, price numeric, gone int, state text)')
    conn.execute('alter table shop."Product" drop column gone')


@pytest.fixture
def other(pg_server: PgServer) -> Iterator[Database]:
    database = pg_server.create("template0")
    yield database
    pg_server.drop(database.name)


def run(server: PgServer, program: str, *arguments: str | Path) -> None:
    """Runs the client program that fits the server."""
    path = Postgres.bin(program) if server.id == "pg18" else program
    subprocess.run([path, *arguments], check=True)


@ROWS
@pytest.mark.parametrize("style", ["copy", "inserts"])
def test_a_restore_of_the_data_is_recorded(
    pg_server: PgServer, database: Database, conn: psycopg.Connection, tmp_path: Path, style: str, rows: int
) -> None:
    watch(conn, 'shop."Product"')
    conn.execute('insert into shop."Product" select generate_series(1, %s)', [rows])
    dump = tmp_path / "dump"
    inserts = ["--inserts"] if style == "inserts" else []
    run(pg_server, "pg_dump", "-Fc", "--data-only", *inserts, "-n", "shop", "-f", dump, database.dsn)
    conn.execute('truncate shop."Product"')
    conn.execute("truncate bridge.event")
    run(pg_server, "pg_restore", "--data-only", "-d", database.dsn, dump)
    assert recorded(conn) == each("insert", rows)


def test_a_restore_with_triggers_disabled_is_silent(
    pg_server: PgServer, database: Database, conn: psycopg.Connection, tmp_path: Path
) -> None:
    watch(conn, 'shop."Product"')
    conn.execute('insert into shop."Product" values (1)')
    dump = tmp_path / "dump"
    run(pg_server, "pg_dump", "-Fc", "--data-only", "-n", "shop", "-f", dump, database.dsn)
    conn.execute('truncate shop."Product"')
    conn.execute("truncate bridge.event")
    run(pg_server, "pg_restore", "--data-only", "--disable-triggers", "-d", database.dsn, dump)
    assert recorded(conn) == []
    assert drift(conn) == []
    conn.execute('insert into shop."Product" values (2)')
    assert recorded(conn) == [("insert", [2])]


def test_a_restore_of_everything_elsewhere_brings_watches_and_events_along(
    pg_server: PgServer, database: Database, conn: psycopg.Connection, other: Database, tmp_path: Path
) -> None:
    conn.execute("create table sale (id int, region text) partition by list (region)")
    conn.execute("create table sale_eu partition of sale for values in ('eu')")
    condition = "new.state is null or new.price > old.price"
    watch(conn, 'shop."Product"', data=["price"], columns=["price"], condition=condition)
    watch(conn, "sale", "sales", key=["id"], options={"always": True})
    conn.execute('insert into shop."Product" values (1, 1.50)')
    dump = tmp_path / "dump"
    run(pg_server, "pg_dump", "-Fc", "-f", dump, database.dsn)
    run(pg_server, "pg_restore", "--exit-on-error", "-d", other.dsn, dump)
    with other.connect() as restored:
        assert drift(restored) == []
        assert recorded(restored) == [("insert", [1])]
        restored.execute('update shop."Product" set price = 2')
        restored.execute("insert into sale values (5, 'eu')")
        restored.execute("set session_replication_role = replica")
        restored.execute("insert into sale values (6, 'eu')")
        after = [("insert", [1]), ("update", [1]), ("insert", [5]), ("insert", [6])]
        assert recorded(restored) == after
        assert restored.execute("select count(*) from bridge.waiting").fetchone() == (4,)
        watch(restored, 'shop."Product"', data=["price"])
        restored.execute(b"select bridge.unwatch('sales')")


@pytest.fixture
def copy(pg_server: PgServer, database: Database, conn: psycopg.Connection) -> Iterator[Callable[[], Database]]:
    made: list[Database] = []

    def create() -> Database:
        conn.close()
        made.append(pg_server.create(database.name))
        return made[-1]

    yield create
    for one in made:
        pg_server.drop(one.name)


@pytest.mark.parametrize("refreshed", ["before", "after", "never"])
@pytest.mark.parametrize(
    "declared",
    [
        pytest.param({"columns": ["price"], "operations": ["update"]}, id="columns"),
        pytest.param({"condition": "new.price > 0"}, id="condition"),
        pytest.param({"condition": "old.price is distinct from 1", "operations": ["update", "delete"]}, id="old row"),
        pytest.param(
            {"columns": ["price"], "operations": ["update"], "options": {"named_only": True}}, id="named only"
        ),
    ],
)
def test_in_a_copied_database_a_name_that_went_to_another_column_is_drift(
    conn: psycopg.Connection, copy: Callable[[], Database], declared: dict[str, Any], refreshed: str
) -> None:
    """The column numbers that the watch stored mean nothing in the copy, until `bridge run` has called refresh()."""
    watch(conn, 'shop."Product"', **declared)
    with copy().connect() as copied:
        assert drift(copied) == []
        if refreshed == "before":
            copied.execute("select bridge.refresh()")
        copied.execute('alter table shop."Product" rename price to cost')
        copied.execute('alter table shop."Product" add price numeric')
        if refreshed == "after":
            copied.execute("select bridge.refresh()")
        assert drift(copied) != []
        copied.execute('insert into shop."Product" (id, cost) values (1, 1)')
        copied.execute("truncate bridge.event")
        watch(copied, 'shop."Product"', **declared)
        assert drift(copied) == []
        copied.execute('update shop."Product" set price = 5')
        assert recorded(copied) == [("update", [1])]
        copied.execute("truncate bridge.event")
        copied.execute('update shop."Product" set cost = 2')
        assert recorded(copied) == ([] if "columns" in declared else [("update", [1])])
