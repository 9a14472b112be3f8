"""Capture can't record: by default the write fails with the reason; with on_error "warn" it goes on unrecorded."""

import re
from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
import pytest

from tests.capture.log import drift, watch
from tests.fix_postgres import TRIGGERS_SQL, Database

FULL = """
    create function full_disk() returns trigger language plpgsql as
        $$ begin raise exception 'could not extend file: No space left on device' using errcode = 'disk_full'; end $$;
    create trigger full_disk before insert on bridge.event for each row execute function full_disk();
"""
SLOTS = range(8)
# Each value is the statement that causes the fault, and the error that the writer gets.
FAULTS = {
    "a partition of the log is missing": (
        "; ".join(f"drop table bridge.event_{slot}" for slot in SLOTS),
        'no partition of relation "ring" found for row',
    ),
    "a partition of the log is detached": (
        "; ".join(f"alter table bridge.ring detach partition bridge.event_{slot}" for slot in SLOTS),
        'no partition of relation "ring" found for row',
    ),
    "the log is gone": ("drop table bridge.event cascade", 'relation "bridge.ring" does not exist'),
    "a column of the log is renamed": (
        "alter table bridge.event rename column key to id_of_row",
        'column "key" of relation "ring" does not exist',
    ),
    "the log's sequence is exhausted": (
        "alter sequence bridge.event_id maxvalue 2; select nextval('bridge.event_id'), nextval('bridge.event_id')",
        r'reached maximum value of sequence "event_id"',
    ),
    "the disk is full": (FULL, "No space left on device"),
}


@pytest.fixture(autouse=True)
def product(conn: psycopg.Connection) -> None:
    conn.execute("create table product (id int primary key, price int)")


@contextmanager
def warnings_of(conn: psycopg.Connection) -> Iterator[list[str]]:
    seen: list[str] = []

    def note(diagnostic: psycopg.errors.Diagnostic) -> None:
        seen.append(f"{diagnostic.severity}: {diagnostic.message_primary}")

    conn.add_notice_handler(note)
    yield seen
    conn.remove_notice_handler(note)


def rows(conn: psycopg.Connection) -> list[tuple[int, ...]]:
    return conn.execute("select id from product").fetchall()


@pytest.mark.parametrize("fault", FAULTS)
def test_a_change_that_can_not_be_recorded_fails_and_says_why(conn: psycopg.Connection, fault: str) -> None:
    damage, reason = FAULTS[fault]
    watch(conn, "product")
    conn.execute(damage.encode())
    with pytest.raises(psycopg.Error, match=reason) as failed:
        conn.execute("insert into product values (1)")
    assert "bridge.capture_w()" in str(failed.value.diag.context)
    assert rows(conn) == []


@pytest.mark.parametrize("fault", FAULTS)
def test_with_on_error_warn_the_change_goes_on_with_a_warning(conn: psycopg.Connection, fault: str) -> None:
    damage, reason = FAULTS[fault]
    watch(conn, "product", operations=["insert", "update", "delete", "truncate"], options={"on_error": "warn"})
    conn.execute(damage.encode())
    with warnings_of(conn) as warned:
        conn.execute("insert into product values (1), (2)")
    assert len(warned) == 2
    for warning in warned:
        assert warning.startswith("WARNING: watch w: a change of public.product was not recorded: ")
        assert re.search(reason, warning)
    conn.execute("update product set price = 2")
    assert rows(conn) == [(1,), (2,)]
    conn.execute("delete from product where id = 1")
    conn.execute("truncate product")
    assert rows(conn) == []


def test_the_generated_function_goes_only_together_with_the_triggers_and_is_drift(conn: psycopg.Connection) -> None:
    watch(conn, "product")
    with pytest.raises(psycopg.errors.DependentObjectsStillExist, match=r"capture_w"):
        conn.execute("drop function bridge.capture_w()")
    conn.execute("drop function bridge.capture_w() cascade")
    conn.execute("insert into product values (1)")
    assert rows(conn) == [(1,)]
    assert drift(conn) == ["w"]


def test_a_log_that_lost_its_partitions_is_mended_by_applying_triggers_sql(conn: psycopg.Connection) -> None:
    watch(conn, "product")
    conn.execute(FAULTS["a partition of the log is missing"][0].encode())
    conn.execute(TRIGGERS_SQL.read_bytes())
    conn.execute("insert into product values (1)")
    assert conn.execute("select key from bridge.event").fetchall() == [([1],)]


@pytest.fixture
def stranger(database: Database, conn: psycopg.Connection) -> Iterator[str]:
    """Yields a role of this test that owns the capture function and has no rights."""
    role = f"{database.name}_stranger"
    conn.execute(f"create role {role}".encode())
    yield role
    conn.execute(f"drop owned by {role} cascade".encode())
    conn.execute(f"drop role {role}".encode())


@pytest.mark.parametrize(
    ("rights", "reason"),
    [
        ("", "permission denied for schema bridge"),
        ("usage on schema bridge", "permission denied for (table event|function _fits)"),
        (
            "usage on schema bridge; grant execute on all functions in schema bridge",
            "permission denied for table ring",
        ),
    ],
    ids=["no right on the schema", "no right on the functions", "no right on the log"],
)
def test_rights_taken_from_the_owner_of_capture_fail_the_write(
    conn: psycopg.Connection, stranger: str, rights: str, reason: str
) -> None:
    watch(conn, "product")
    conn.execute(f"alter function bridge.capture_w() owner to {stranger}".encode())
    for right in filter(None, rights.split("; grant ")):
        conn.execute(f"grant {right} to {stranger}".encode())
    with pytest.raises(psycopg.errors.InsufficientPrivilege, match=reason):
        conn.execute("insert into product values (1)")
    watch(conn, "product", options={"on_error": "warn"})
    with warnings_of(conn) as warned:
        conn.execute("insert into product values (1)")
    assert re.search(reason, warned[0])
    assert rows(conn) == [(1,)]


@pytest.mark.parametrize("operations", [["insert"], ["update"]])
def test_a_condition_that_raises_an_error_fails_the_write(conn: psycopg.Connection, operations: list[str]) -> None:
    """PostgreSQL adds no context to an error in a trigger's WHEN. Conditions can avoid such errors with nullif()."""
    conn.execute("insert into product values (0, 0)")
    watch(conn, "product", operations=operations, condition="10 / new.price > 1")
    write = "insert into product values (1, 0)" if operations == ["insert"] else "update product set price = 0"
    conn.execute("update product set price = 1")
    with pytest.raises(psycopg.errors.DivisionByZero):
        conn.execute(write.encode())
    watch(conn, "product", operations=operations, condition="10 / new.price > 1", options={"on_error": "warn"})
    with warnings_of(conn) as warned:
        conn.execute(write.encode())
    assert warned == ["WARNING: watch w: a change of public.product was not recorded: division by zero"]


@pytest.mark.parametrize("option", ["fail", "warn"])
def test_a_log_that_somebody_locks_makes_writers_wait_as_long_as_they_want(
    database: Database, conn: psycopg.Connection, option: str
) -> None:
    watch(conn, "product", options={"on_error": option})
    conn.execute("set lock_timeout = '50ms'")
    with database.connect() as locker, locker.transaction(), warnings_of(conn) as warned:
        locker.execute("lock table bridge.event in access exclusive mode")
        if option == "fail":
            with pytest.raises(psycopg.errors.LockNotAvailable):
                conn.execute("insert into product values (1)")
            assert rows(conn) == []
        else:
            conn.execute("insert into product values (1)")
            assert "canceling statement due to lock timeout" in warned[0]
            assert rows(conn) == [(1,)]


def test_with_on_error_warn_an_undisturbed_change_is_recorded(conn: psycopg.Connection) -> None:
    watch(conn, "product", options={"on_error": "warn"}, condition="new.price > 1", data=["price"])
    conn.execute("insert into product values (1, 1), (2, 2)")
    assert conn.execute("select key from bridge.event").fetchall() == [([2],)]


def test_without_the_schema_nothing_is_left_to_fail(conn: psycopg.Connection) -> None:
    watch(conn, "product")
    conn.execute("drop schema bridge cascade")
    conn.execute("insert into product values (1)")
    conn.execute("update product set price = 1")
    conn.execute("truncate product")
