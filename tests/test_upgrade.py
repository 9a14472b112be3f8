"""A newer triggers.sql over an older one: waiting events stay, watches get the new capture, no writer fails.

`tests/upgrades/` holds the triggers.sql of each released version. 0.1.0a1 is the last version whose capture had parsed
functions.
"""

import re
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from importlib.metadata import version
from pathlib import Path

import psycopg
import pytest

from bridge.database import schema
from tests.eventually import eventually
from tests.fix_postgres import TRIGGERS_SQL, Database

RELEASED = sorted((Path(__file__).parent / "upgrades").glob("*.sql"))

# An older file may leave its version, and capture functions that it generated differently.
_AGED = """
update bridge.installation set version = '0.0.1';
create or replace function bridge.capture_item() returns trigger language plpgsql security definer as $$
begin
    insert into bridge.event (stream, watch, op, key)
    values ('default', 'item', lower(tg_op), jsonb_build_array((coalesce(new, old)).id));
    return null;
end $$;
update bridge.watch set fingerprint = 'of an older file';
"""
_TABLES = """
create table item (id int primary key, note text);
create table bill (id int primary key, total numeric);
select bridge.watch('item', 'item', 'shop.touch', condition => 'new.id is null or new.id > 0');
select bridge.watch('bill', 'bill', 'shop.touch', data => '{total}', stream => 'money');
select bridge.watch('gone', 'bill', 'shop.touch');
"""
_HISTORY = [
    "insert into item values (1, 'delivered')",
    "update bridge.position set seen = pg_current_snapshot()",
    "insert into item select n from generate_series(2, 4) n",
    "insert into bill values (1, 9.50)",
    "select bridge.unwatch('gone')",
]


def install(conn: psycopg.Connection) -> None:
    conn.execute(schema.read().encode())


@pytest.fixture(params=["aged", *RELEASED], ids=lambda p: p if isinstance(p, str) else p.stem)
def older(request: pytest.FixtureRequest, empty_database: Database) -> Iterator[psycopg.Connection]:
    """Yields a database with an older installation: watches, delivered events, and waiting ones."""
    with empty_database.connect() as conn:
        released = isinstance(request.param, Path)
        conn.execute(request.param.read_bytes() if released else schema.read().encode())
        for statements in (_TABLES, "" if released else _AGED, *_HISTORY):
            conn.execute(statements.encode())
        yield conn


def waiting(conn: psycopg.Connection) -> list[tuple[object, ...]]:
    return conn.execute("select id, stream, watch, op, key, data, at from bridge.waiting order by id").fetchall()


def test_events_that_wait_survive_an_upgrade(older: psycopg.Connection) -> None:
    before = waiting(older)
    assert [(row[2], row[4]) for row in before if row[2] != "gone"] == [
        ("item", [2]),
        ("item", [3]),
        ("item", [4]),
        ("bill", [1]),
    ]
    install(older)
    assert waiting(older) == before


def test_positions_stay_where_they_are_in_an_upgrade(older: psycopg.Connection) -> None:
    positions = "select * from bridge.position join bridge.stream on stream = name order by 1"
    before = older.execute(positions).fetchall()
    install(older)
    assert older.execute(positions).fetchall() == before


def test_watches_get_the_new_capture_in_an_upgrade(older: psycopg.Connection) -> None:
    older.execute("set bridge.context = 'me'")
    install(older)
    assert older.execute("select bridge.version()").fetchone() == (schema.version(),)
    assert older.execute("select * from bridge.drift()").fetchall() == []
    older.execute("insert into item values (9)")
    older.execute("update bill set total = 10")
    assert older.execute("select watch, key, data, context from bridge.event order by id desc limit 2").fetchall() == [
        ("bill", [1], {"old": {"total": "9.50"}, "new": {"total": "10"}, "changed": ["total"]}, "me"),
        ("item", [9], None, "me"),
    ]


def functions(conn: psycopg.Connection) -> list[tuple[str]]:
    """Returns all functions of schema bridge, except those that are generated for watches."""
    return conn.execute(r"""
        select oid::regprocedure::text from pg_proc
        where pronamespace = 'bridge'::regnamespace and proname not like 'capture\_%' order by 1
    """).fetchall()


def test_an_upgrade_leaves_only_the_functions_of_a_new_installation(
    older: psycopg.Connection, conn: psycopg.Connection
) -> None:
    install(older)
    assert functions(older) == functions(conn)


def test_each_function_that_the_file_drops_is_gone_after_an_upgrade(conn: psycopg.Connection) -> None:
    expected = functions(conn)
    _, _, obsolete = TRIGGERS_SQL.read_text().partition("do $obsolete$")
    signatures = re.findall(r"'(_\w+\([^']*\))'", obsolete)
    assert "_quoted(text)" in signatures
    for signature in signatures:
        body = "returns text language plpgsql as 'begin return null; end'"
        conn.execute(f"create function bridge.{signature} {body}".encode())
    install(conn)
    assert functions(conn) == expected


def test_a_relay_learns_of_an_upgrade(older: psycopg.Connection) -> None:
    generation = "select generation from bridge.installation"
    [before] = older.execute(generation).fetchall()
    install(older)
    assert older.execute(generation).fetchall() > [before]


def test_a_watch_that_no_longer_fits_its_table_does_not_stop_an_upgrade(older: psycopg.Connection) -> None:
    older.execute("drop table bill cascade")
    install(older)
    assert older.execute("select bridge.version()").fetchone() == (schema.version(),)
    assert older.execute("select name from bridge.drift()").fetchall() == [("bill",)]


def test_no_writer_fails_and_no_change_is_missed_during_an_upgrade(
    older: psycopg.Connection, empty_database: Database
) -> None:
    done = threading.Event()
    started = threading.Barrier(4)

    def write(number: int) -> int:
        """Writes until the upgrade is over. Each transaction changes both tables; the writers use different orders."""
        pair = [f"insert into item values ({number} + %s)", f"insert into bill values ({number} + %s)"]
        with empty_database.connect() as conn:
            written = 0
            while not done.is_set() or written == 0:
                written += 1
                with conn.transaction():
                    for statement in pair:
                        conn.execute(statement.encode(), [written])
                if written == 1:
                    started.wait()
        return written

    older.execute("truncate bridge.event")
    with ThreadPoolExecutor(3) as pool:
        writers = [pool.submit(write, number * 1_000_000) for number in (1, 2, 3)]
        started.wait()
        try:
            for _ in range(5):
                older.execute("update bridge.watch set fingerprint = 'of an older file'")
                install(older)
        finally:
            done.set()
        written = sum(writer.result() for writer in writers)
    captured = "select watch, count(*) from bridge.event group by 1 order by 1"
    assert older.execute(captured).fetchall() == [("bill", written), ("item", written)]


def test_a_writer_wins_over_an_upgrade_that_locks_tables_in_another_order(
    older: psycopg.Connection, empty_database: Database
) -> None:
    older.execute("create table later (id int primary key)")
    older.execute("select bridge.watch('later', 'later', 'shop.touch')")
    older.execute("update bridge.watch set fingerprint = 'of an older file'")
    with ExitStack() as stack:
        writer, blocker, installer = (stack.enter_context(empty_database.connect()) for _ in range(3))
        pool = stack.enter_context(ThreadPoolExecutor(2))

        def waits(conn: psycopg.Connection) -> bool:
            pid = conn.info.backend_pid
            return older.execute("select from pg_locks where not granted and pid = %s", [pid]).fetchone() is not None

        writer.execute("begin; insert into later values (1)")
        blocker.execute("begin; insert into bill values (50)")
        upgrade = pool.submit(install, installer)
        assert eventually(lambda: waits(installer) or upgrade.done())  # it has locked item, and waits for bill
        change = pool.submit(writer.execute, "insert into item values (50)")
        assert eventually(lambda: waits(writer) or change.done())
        blocker.execute("commit")  # now it has locked bill, and waits for later, which the writer has locked
        change.result()
        writer.execute("commit")
        # The upgrade gives way: with a warning, or completely if it has to change the log itself.
        assert isinstance(upgrade.exception(), psycopg.errors.LockNotAvailable | None)


def test_two_installers_at_once_take_turns(empty_database: Database) -> None:
    with ExitStack() as stack:
        first, second, watcher = (stack.enter_context(empty_database.connect()) for _ in range(3))
        pool = stack.enter_context(ThreadPoolExecutor(1))
        first.execute("begin")
        install(first)
        install_second = pool.submit(install, second)
        blocked = "select from pg_locks where not granted and pid = %s"
        assert eventually(lambda: watcher.execute(blocked, [second.info.backend_pid]).fetchone() is not None)
        first.execute("commit")
        install_second.result()
        assert watcher.execute("select version, generation from bridge.installation").fetchall() == [
            (schema.version(), 1)
        ]


def test_installers_that_start_together_all_succeed(empty_database: Database) -> None:
    barrier = threading.Barrier(4)

    def run() -> None:
        with empty_database.connect() as conn:
            barrier.wait()
            install(conn)

    with ThreadPoolExecutor(4) as pool:
        for installer in [pool.submit(run) for _ in range(4)]:
            installer.result()


def test_an_older_file_is_refused_where_a_newer_one_is_installed(conn: psycopg.Connection) -> None:
    conn.execute("update bridge.installation set version = '9.0.0'")
    with pytest.raises(psycopg.Error, match=r"9\.0\.0 is installed here, and this file is .*: upgrade the package"):
        conn.execute(TRIGGERS_SQL.read_bytes())
    assert conn.execute("select bridge.version()").fetchone() == ("9.0.0",)


def test_the_package_and_its_sql_have_the_same_version() -> None:
    text = TRIGGERS_SQL.read_text()
    assert schema.version() == version("commit-bridge")
    assert text.count(f"'{schema.version()}'") == 2  # the version it refuses to replace, and the one it installs


# The table before events were distinguished by more than their ids.
_OLD_DEAD_LETTER = """
drop table bridge.dead_letter;
create table bridge.dead_letter (
    id bigint primary key,
    stream text collate "C" not null,
    watch text collate "C" not null,
    op text collate "C" not null,
    key jsonb,
    data jsonb,
    context text,
    at timestamptz not null,
    reason text not null,
    failed_at timestamptz not null default clock_timestamp()
);
insert into bridge.dead_letter (id, stream, watch, op, key, at, reason)
select -n, 'default', 'item', 'insert', jsonb_build_array(n), '2026-01-01', 'because' from generate_series(1, 3) n;
"""


def test_dead_letters_that_wait_survive_an_upgrade_and_can_be_retried(older: psycopg.Connection) -> None:
    older.execute(_OLD_DEAD_LETTER)
    letters = (
        "select id, stream, watch, op, key, data, context, at, reason, failed_at from bridge.dead_letter order by id"
    )
    before = older.execute(letters).fetchall()
    for _ in range(2):
        install(older)
        assert older.execute(letters).fetchall() == before
    assert older.execute("select bridge.retry(ids => '{-1,-3}')").fetchone() == (2,)
    assert older.execute("select key from bridge.waiting where id < 0 order by id").fetchall() == [([3],), ([1],)]
    bury = "select bridge.bury('default', array[id], array[at], array[xid], '{again}') from bridge.event where id = -1"
    assert older.execute(bury).fetchone() == (1,)
    assert older.execute("select id, reason from bridge.dead_letter order by id").fetchall() == [
        (-2, "because"),
        (-1, "again"),
    ]
