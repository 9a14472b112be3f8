"""`manage.py flush` also removes the events of the rows that it removes. Tests of a project rely on this."""

import contextlib
import io
import subprocess
import sys
from collections.abc import Callable, Iterator
from typing import Any

import psycopg
import pytest
from catalog.models import Product
from django.core.management import CommandError, call_command
from django.core.management.sql import emit_post_migrate_signal
from django.db import connection
from django.test.utils import CaptureQueriesContext
from psycopg.conninfo import make_conninfo

from django_app.models import Event
from tests.fix_bridge import ROOT, environment
from tests.fix_postgres import Database, PgServer, on_pg18

pytestmark = on_pg18

Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def run_tests(empty_database: Database, pg_server: PgServer) -> Iterator[Run]:
    """Runs Django's test runner in its own process, on a test database that the last run may have kept."""

    def run(*labels: str, database: str | None = None) -> subprocess.CompletedProcess[str]:
        url = make_conninfo(empty_database.dsn, dbname=database or empty_database.name)
        return subprocess.run(
            [sys.executable, "-W", "error", "-m", "django", "test", "--keepdb", "--noinput", *labels],
            check=False,
            cwd=ROOT,
            env=environment(
                PYTHONPATH=str(ROOT / "examples" / "shop"),
                DJANGO_SETTINGS_MODULE="shop.settings",
                SHOP_DATABASE_URL=url,
            ),
            capture_output=True,
            text=True,
            timeout=60,
        )

    yield run
    pg_server.drop(f"test_{empty_database.name}")


@pytest.mark.parametrize("case", ["FlushedTest", "SequencesTest", "SerializedTest", "SomeAppsTest"])
def test_a_test_finds_no_event_of_the_test_before(run_tests: Run, case: str) -> None:
    for _ in range(2):  # the second run uses the database that the first one kept
        done = run_tests(f"tests.django.cases.{case}")
        assert "Ran 3 tests" in done.stderr
        assert done.returncode == 0, done.stderr


def test_what_an_aborted_run_has_left_proves_nothing(run_tests: Run) -> None:
    aborted = run_tests("tests.django.cases.AbortedTest")
    assert aborted.returncode == 0, aborted.stderr
    done = run_tests("tests.django.cases.RolledBackTest")
    assert "Ran 2 tests" in done.stderr
    assert done.returncode == 0, done.stderr


@pytest.fixture
def log(migrated: Database) -> Database:
    """Creates events and dead letters, also of a table that Django does not know. TRUNCATE of offers is watched."""
    Product.objects.create(name="Tea", price=1)
    with migrated.connect() as other:
        other.execute("""
            create table bill (id int primary key);
            select bridge.watch('bill', 'bill', 't.t');
            select bridge.watch('emptied', 'catalog_offer', 't.t', operations => '{truncate}');
            select bridge.allow('t.mail');
            select bridge.send('t.mail');
            insert into bill values (1);
            update catalog_product set price = 2;
            insert into bridge.dead_letter (id, stream, watch, op, key, at, reason)
            select id + 1000, stream, watch, op, key, at, 'no' from bridge.event;
        """)
    assert watches_of_events(migrated) == [
        ("event", ""),
        ("event", "bill"),
        ("event", "catalog.product_reprice"),
        ("letter", ""),
        ("letter", "bill"),
        ("letter", "catalog.product_reprice"),
    ]
    return migrated


OTHERS = [("event", ""), ("event", "bill"), ("letter", ""), ("letter", "bill")]


def watches_of_events(database: Database) -> list[Any]:
    with database.connect() as other:
        return other.execute("""
            select 'event', watch from bridge.event
            union all
            select 'letter', watch from bridge.dead_letter
            order by 1, 2
        """).fetchall()


def test_a_flush_does_not_look_at_the_watches(log: Database) -> None:
    """TransactionTestCase flushes after each test, so a suite would pay for it."""
    with CaptureQueriesContext(connection) as queries:
        call_command("flush", interactive=False, verbosity=0)
    texts = [query["sql"] for query in queries]
    assert any(text.startswith("TRUNCATE") for text in texts)
    assert not [text for text in texts if "bridge.plan" in text or "allow_only" in text]


def test_a_flush_empties_the_log_of_what_it_flushed_and_of_nothing_else(log: Database) -> None:
    call_command("flush", interactive=False, verbosity=0)
    assert watches_of_events(log) == sorted([*OTHERS, ("event", "emptied")])
    assert Event.objects.get(watch="emptied").op == "truncate", "the flush itself must be recorded"


def test_a_flush_that_is_called_off_leaves_all(log: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    before = watches_of_events(log)
    monkeypatch.setattr("builtins.input", lambda _: "no")
    out = io.StringIO()
    call_command("flush", stdout=out)
    assert "Flush cancelled." in out.getvalue()
    assert watches_of_events(log) == before


def test_a_flush_that_fails_leaves_all(log: Database) -> None:
    before = watches_of_events(log)
    with log.connect() as other:
        other.execute("""
            create function stop() returns trigger language plpgsql as $$ begin raise 'no'; end $$;
            create trigger stop before delete on bridge.dead_letter execute function stop();
        """)
    with pytest.raises(CommandError, match="couldn't be flushed"):
        call_command("flush", interactive=False, verbosity=0)
    assert watches_of_events(log) == before
    assert Product.objects.count() == 1


@pytest.mark.parametrize(
    "rights", ["select", "grant usage on schema bridge to flusher; grant select, delete on bridge.event to flusher"]
)
def test_a_role_without_all_rights_on_the_log_flushes_its_tables_and_is_told(
    log: Database, monkeypatch: pytest.MonkeyPatch, rights: str
) -> None:
    with log.connect() as other:
        tables = other.execute("select tablename from pg_tables where schemaname = 'public'").fetchall()
        with contextlib.suppress(psycopg.errors.DuplicateObject):
            other.execute("create role flusher login")
        other.execute(rights.encode())
        for (table,) in tables:
            other.execute(f'alter table "{table}" owner to flusher'.encode())
    connection.close()
    monkeypatch.setitem(connection.settings_dict, "USER", "flusher")
    err = io.StringIO()
    call_command("flush", interactive=False, verbosity=0, inhibit_post_migrate=True, stderr=err)
    assert "stay: this role has no right to delete from bridge.event" in err.getvalue()
    assert ("event", "catalog.product_reprice") in watches_of_events(log)
    connection.close()


def test_a_flush_before_the_bridge_is_installed(shop_database: Database) -> None:
    call_command("migrate", "catalog", verbosity=0)
    call_command("flush", interactive=False, verbosity=0, inhibit_post_migrate=True)


def test_post_migrate_sent_by_hand_takes_no_event_away(log: Database) -> None:
    """Data migrations that need permissions are known to send this signal. It looks like the signal of a flush."""
    before = watches_of_events(log)
    emit_post_migrate_signal(verbosity=0, interactive=False, db="default")
    assert watches_of_events(log) == before
