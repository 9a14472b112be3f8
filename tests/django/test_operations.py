"""Every operation of Django's migrations, on a table with watches and writers: nothing fails and nothing is lost.

The tests compare what the watches do meanwhile with docs/reference/django-operations.md.
"""

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from django.core.management import call_command
from django.db import connection, reset_queries
from django.db.migrations import operations
from django.test.utils import CaptureQueriesContext

from tests.django.operation import CASES, Case, Names
from tests.django.project import Project
from tests.django.writers import Ledger, Writers
from tests.fix_operations import OperationsTable
from tests.fix_postgres import Database


@pytest.fixture
def project(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, shop_database: Database, undeclared: None
) -> Iterator[Project]:
    with Project(tmp_path, monkeypatch) as project:
        call_command("migrate", "bridge", verbosity=0)
        yield project


def recorded(database: Database, watch: str) -> Ledger:
    with database.connect() as other:
        rows = other.execute("select op, key ->> 0 from bridge.event where watch = %s", [watch])
        return Counter((op, key) for op, key in rows)


def assert_complete(case: Case, database: Database, writers: Writers) -> None:
    ledger, wide = writers.ledger, recorded(database, "wide")
    if not case.keeps_key:  # the events of rows without a key can only be counted
        assert ledger.total() <= wide.total()
        return
    lost = ledger - wide
    assert not lost, f"changes without an event: {lost}, {writers.places(lost)}"
    if not case.writes:
        invented = wide - ledger
        assert not invented, f"events without a change: {invented}"
    assert not ledger - recorded(database, "data")
    for watch in ("narrow", "named") if case.keeps_price else ():
        priced = Counter({key: n for (op, key), n in recorded(database, watch).items() if op == "update"})
        assert not writers.priced - priced, watch


def watches(database: Database) -> dict[str, Any]:
    with database.connect() as other:
        return dict(other.execute("select name, bridge._is_intact(w) from bridge.watch w where removed_at is null"))


def narrowed(database: Database) -> bool | None:
    """Returns whether the watch `narrow` still filters by its column. None: the watch does not exist."""
    with database.connect() as other:
        row = other.execute(
            "select w.columns is not null and w.fingerprint <> '' "
            "from bridge.watch w join pg_class c on c.oid = w.relation where w.name = 'narrow' and removed_at is null"
        ).fetchone()
    return row[0] if row else None


def meanwhile(queries: list[dict[str, str]]) -> str:
    said = "\n".join(query["sql"] for query in queries)
    if "bridge.step_aside" in said:
        return "steps aside"
    return "is made again" if "bridge.step_back" in said else "stays"


def declared(case: Case, how: str) -> list[dict[str, Any]]:
    names: Names | None = {"before": case.before, "after": case.after, "gone": None}[how]
    return names.watches() if names else []


# Operations that touch columns which a watch names. The tests of all operations take minutes.
CLOSE = {
    "AddField",
    "RemoveField",
    "AlterField",
    "RenameField",
    "RunSQL",
    "SeparateDatabaseAndState",
    "AlterConstraint",
}


@pytest.mark.parametrize(
    "case",
    [pytest.param(c, id=c.name, marks=() if c.operation in CLOSE else pytest.mark.soak) for c in CASES],
)
@pytest.mark.parametrize(
    ("pg_server", "how"),
    [
        ("pg18", "before"),
        # All pairs together take half an hour.
        pytest.param("pg15", "after", marks=pytest.mark.soak),
        pytest.param("pg18", "gone", marks=pytest.mark.soak),
        pytest.param("pg15", "before", marks=pytest.mark.soak),
        pytest.param("pg18", "after", marks=pytest.mark.soak),
        pytest.param("pg15", "gone", marks=pytest.mark.soak),
    ],
    indirect=["pg_server"],
)
def test_an_operation_passes_with_watches_and_writers(
    case: Case, how: str, project: Project, shop_database: Database, operations_table: OperationsTable
) -> None:
    if case.earlier:
        project.add("earlier", case.earlier)
    models = f"{len(project.names):04}_{'earlier' if case.earlier else 'models'}"
    project.migrate(models)
    changed = project.add("changed", case.source, atomic=case.atomic)
    project.declare(case.before.watches())
    project.migrate(models)
    writers = Writers(shop_database, "shelf_product")
    writers.start()
    project.declare(declared(case, how))
    during: list[bool | None] = []

    def before_sync() -> None:
        if how == "gone":
            writers.pause()  # changes after the watch is removed are not recorded
        during.append(narrowed(shop_database))

    try:
        # Django's log of queries is limited, and hundreds of tests in one process fill it.
        reset_queries()
        with CaptureQueriesContext(connection) as queries:
            project.migrate(changed, before_sync)
        if how == "gone":
            assert_complete(case, shop_database, writers)
            assert watches(shop_database) == {}
            if case.backwards:
                project.migrate(models)
            writers.resume()
            writers.go_on()
        else:
            writers.go_on()
            if case.backwards:
                project.migrate(models)
                writers.go_on()
    finally:
        writers.stop()
    writers.assert_not_hurt()
    if how != "gone":
        assert_complete(case, shop_database, writers)
    if how == "before" and case.backwards:
        project.migrate(models)
        assert all(watches(shop_database).values()), "the watches must be intact after the way back"
    after = {True: "as declared", False: "every change counts", None: "its table is gone"}[during[0]]
    operations_table.check(case.operation, case.subject, meanwhile(queries.captured_queries), after)


def test_every_operation_has_its_case() -> None:
    assert set(operations.__all__) <= {case.operation for case in CASES}
