"""Tasks as part of the transaction: what a role may send, and what an error says."""

from typing import Any

import pytest
from celery import chain
from django.core.management import call_command
from django.db import DatabaseError, connection, transaction

from django_app import allowances
from django_app.errors import SendError
from tests.django.sending_app import NAMES, shop
from tests.django.sent import allow, events, refusals, rolled_back
from tests.fix_postgres import Database, on_pg18


def test_a_task_that_is_not_allowed_is_a_clear_error(log: Database, app: Any) -> None:
    add, forbidden = app.tasks["sending.add"], app.tasks["sending.forbidden"]
    attempts = [forbidden.s(1), add.s(1).set(link=[forbidden.s()]), chain(add.s(1), forbidden.s()), forbidden.map([1])]
    for attempt in attempts:
        told = r'"sending.forbidden" may not be sent.*Run manage.py migrate'
        with pytest.raises(SendError, match=told) as caught, transaction.atomic():
            attempt.apply_async()
        assert "\n" not in str(caught.value)
        assert ".)" not in str(caught.value)
    assert events(log) == []


def test_a_forged_event_becomes_a_dead_letter(log: Database) -> None:
    """A role that may call the function can write any message. The bridge decides."""
    forged = """{"id": "a", "embed": "{\\"chain\\": [{\\"task\\": \\"sending.forbidden\\"}]}"}"""
    with connection.cursor() as cursor:
        cursor.execute("select bridge.send_task('sending.add', '[]', '{}', %s)", [forged])
        cursor.execute(
            "select bridge.send_task('celery.map', '[]', %s, '{\"id\": \"b\"}')", ['{"task": "sending.forbidden"}']
        )
    assert len(refusals(log)) == 2


def test_a_role_without_the_right_to_send_is_told_so(log: Database, app: Any) -> None:
    role = f"{log.name}_nobody"
    with log.connect() as owner:
        owner.execute(f"create role {role}".encode())
        try:
            for right in (None, "usage on schema bridge"):
                if right is not None:
                    owner.execute(f"grant {right} to {role}".encode())
                with rolled_back():
                    with connection.cursor() as cursor:
                        cursor.execute(f"set local role {role}")
                    with pytest.raises(SendError, match=r"permission denied.*roles\.sql"):
                        app.tasks["sending.add"].delay(1)
        finally:
            owner.execute(f"drop owned by {role}".encode())
            owner.execute(f"drop role {role}".encode())


@on_pg18
def test_a_database_without_the_schema_is_a_clear_error(shop_database: Database, app: Any) -> None:
    with pytest.raises(SendError, match=r"Run: manage\.py migrate bridge"), transaction.atomic():
        app.tasks["sending.add"].delay(1)


def test_other_errors_of_the_database_are_djangos(log: Database, app: Any) -> None:
    with rolled_back():
        with connection.cursor() as cursor, pytest.raises(DatabaseError):
            cursor.execute("select 1 / 0")
        with pytest.raises(DatabaseError, match="transaction is aborted"):
            app.tasks["sending.add"].delay(1)


def sendable(database: Database) -> dict[str, str | None]:
    """Returns the source of each allowance, without the tasks that other tests share with every app of this process."""
    with database.connect() as other:
        rows = other.execute("select task, source from bridge.sendable").fetchall()
    return {task: source for task, source in rows if not task.startswith("tests.")}


@on_pg18
def test_migrate_allows_exactly_the_tasks_of_the_project(
    migrated: Database, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    shops = {"catalog.tasks.reprice": "django", "catalog.tasks.reprice_legacy": "django"}
    assert sendable(migrated) == shops
    allow(migrated, ["by.hand"])
    project = shop()
    monkeypatch.setattr(allowances, "load_app", lambda: project)
    call_command("migrate", verbosity=0)
    # The tasks of the catalog are shared, so every app of this process has them.
    every = dict.fromkeys([*NAMES, "sending.forbidden"], "django")
    assert sendable(migrated) == {**shops, **every, "by.hand": None}
    del project.tasks["sending.forbidden"]
    call_command("migrate", verbosity=1)
    assert "  disallow sending sending.forbidden\n" in capsys.readouterr().out
    assert "sending.forbidden" not in sendable(migrated)
    assert sendable(migrated)["by.hand"] is None


@on_pg18
def test_without_an_app_or_with_a_broken_one_the_allowances_stay(
    migrated: Database, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    before = sendable(migrated)
    monkeypatch.setattr(allowances, "load_app", lambda: None)
    monkeypatch.setattr(allowances, "why_no_app", lambda: "shop.celery: NameError")
    call_command("migrate", verbosity=1)
    assert "The tasks that may be sent stay as they are: shop.celery: NameError\n" in capsys.readouterr().out
    monkeypatch.setattr(allowances, "celery_app", lambda: None)
    call_command("migrate", verbosity=1)
    assert "may be sent" not in capsys.readouterr().out
    assert sendable(migrated) == before
