"""The transaction that makes a stream: all events in it and in later ones are ahead of the stream's position."""

import subprocess
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import psycopg
import pytest
from psycopg import IsolationLevel

from tests.capture.log import drift
from tests.fix_postgres import TRIGGERS_SQL, Database
from tools.servers import Postgres

LEVELS = [IsolationLevel.READ_COMMITTED, IsolationLevel.REPEATABLE_READ, IsolationLevel.SERIALIZABLE]
WATCH = "select bridge.watch('seeded', 'seeded', 'shop.touch', stream => 'fresh')"


@pytest.fixture
def commit(database: Database) -> Iterator[Callable[[int], None]]:
    """Makes transactions in other sessions, each with its own id, so that the current id moves on."""
    with database.connect() as conn:
        conn.execute("create table other (id int)")

        def commit(count: int) -> None:
            for n in range(count):
                conn.execute("insert into other values (%s)", [n])

        yield commit


@pytest.fixture(params=LEVELS, ids=lambda level: level.name.lower())
def creator(request: pytest.FixtureRequest, database: Database) -> Iterator[psycopg.Connection]:
    """Yields a session in a transaction of each level."""
    with closing(psycopg.connect(database.dsn)) as connection:
        connection.isolation_level = request.param
        yield connection


def waiting(conn: psycopg.Connection, stream: str = "fresh") -> list[int]:
    rows = conn.execute("select key from bridge.waiting where stream = %s order by id", [stream])
    return [row[0][0] for row in rows]


def test_an_event_of_the_transaction_that_makes_the_stream_waits(
    creator: psycopg.Connection, conn: psycopg.Connection, commit: Callable[[int], None]
) -> None:
    creator.execute("create table seeded (id int primary key)")
    commit(3)  # with ids after the creator's id
    creator.execute(WATCH)
    commit(3)
    creator.execute("insert into seeded values (1)")
    commit(3)
    creator.commit()
    assert waiting(conn) == [1]


def test_a_creator_whose_transaction_id_comes_late_loses_nothing_either(
    creator: psycopg.Connection, conn: psycopg.Connection, commit: Callable[[int], None]
) -> None:
    conn.execute("create table seeded (id int primary key)")
    creator.execute("select")
    commit(3)
    creator.execute(WATCH)
    creator.execute("insert into seeded values (1)")
    creator.commit()
    assert waiting(conn) == [1]


def test_savepoints_of_the_creator_change_nothing(
    creator: psycopg.Connection, conn: psycopg.Connection, commit: Callable[[int], None]
) -> None:
    creator.execute("create table seeded (id int primary key)")
    creator.execute("savepoint a")
    creator.execute(WATCH)
    creator.execute("insert into seeded values (1)")
    creator.execute("rollback to savepoint a")
    commit(3)
    creator.execute("savepoint b")
    creator.execute(WATCH)
    creator.execute("savepoint c")
    creator.execute("insert into seeded values (2)")
    commit(3)
    creator.execute("release savepoint b")
    creator.execute("insert into seeded values (3)")
    creator.commit()
    assert waiting(conn) == [2, 3]


def test_a_transaction_that_runs_meanwhile_is_not_forgotten(
    creator: psycopg.Connection, database: Database, conn: psycopg.Connection, commit: Callable[[int], None]
) -> None:
    """It waits for the new trigger's lock, with an id from before the creator's, and commits after the creator."""
    conn.execute("create table seeded (id int primary key)")
    with closing(psycopg.connect(database.dsn)) as early:
        early.execute("insert into other values (0)")
        creator.execute(WATCH)
        commit(3)
        creator.execute("insert into seeded values (1)")
        creator.commit()
        early.execute("insert into seeded values (2)")
        assert waiting(conn) == [1]
        early.commit()
    assert waiting(conn) == [1, 2]


def test_what_is_delivered_of_a_new_stream_does_not_wait(creator: psycopg.Connection, conn: psycopg.Connection) -> None:
    """The position that the creator has just inserted must not look as if it came from another cluster."""
    creator.execute("create table seeded (id int primary key)")
    creator.execute(WATCH)
    creator.execute("insert into seeded values (1)")
    assert creator.execute("select stream from bridge.status() order by 1").fetchall() == [("default",), ("fresh",)]
    creator.commit()
    assert conn.execute("select waiting from bridge.status() where stream = 'fresh'").fetchone() == (1,)


def test_psql_installs_watches_and_inserts_in_a_single_transaction(empty_database: Database, tmp_path: Path) -> None:
    """The transaction itself makes the stream default. Other transactions commit meanwhile."""
    script = tmp_path / "all.sql"
    other = f"\\! {Postgres.bin('psql')} -X -q -c 'insert into other values (1)' '{empty_database.dsn}'\n"
    script.write_text(
        "create table seeded (id int primary key);\n"
        + other
        + TRIGGERS_SQL.read_text()
        + other
        + "select bridge.watch('seeded', 'seeded', 'shop.touch');\ninsert into seeded values (1);\n"
        + other
    )
    with empty_database.connect() as conn:
        conn.execute("create table other (id int)")
        command: list[str | Path] = [
            Postgres.bin("psql"),
            "-X",
            "-q",
            "-v",
            "ON_ERROR_STOP=1",
            "--single-transaction",
            "-f",
            script,
        ]
        subprocess.run([*command, empty_database.dsn], check=True)
        assert conn.execute("select count(*) from other").fetchone() == (3,)
        assert waiting(conn, "default") == [1]
        assert drift(conn) == []
