"""Shadow watches in a second database, tasks that are sent in a transaction, and a report that can't be complete."""

import json
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import timedelta
from typing import Any

import pytest
from catalog.models import LegacyProduct
from catalog.tasks import reprice_legacy
from click.testing import CliRunner
from django.conf import settings
from django.core.management import call_command
from django.db import connection, connections, transaction
from shop.settings import database as database_settings

from django_app import watch
from django_app.celery import delay_in_transaction
from django_app.cli.shadow import shadow
from django_app.shadow import rendering
from django_app.shadow.recorder import recorder
from django_app.shadow.report import report
from django_app.shadow.verdict import Verdict
from tests.django.fix_shadow import Ledger, ledger, published_to, shadow_watch
from tests.fix_broker import Broker
from tests.fix_postgres import Database, PgServer

__all__ = ["ledger", "published_to", "shadow_watch"]
Report = Callable[[], list[Verdict]]
ODD = 'Other "database"'


@pytest.fixture
def second(
    shop_database: Database, pg_server: PgServer, undeclared: None, published_to: Broker, monkeypatch: Any
) -> Iterator[str]:
    """A second database, which alone has a shadow watch. The first one has no table at all."""
    name = f"{shop_database.name}_second"
    with shop_database.connect() as admin:
        admin.execute(f"create database {name}".encode())
    values = {**connections.settings["default"], **database_settings(shop_database.dsn), "NAME": name}
    monkeypatch.setitem(connections.settings, ODD, values)
    monkeypatch.setattr(settings, "BRIDGE_DATABASE", ["default", ODD], raising=False)
    watch(LegacyProduct, task=reprice_legacy, columns=["price"], on=["update"], shadow=True, using=ODD)
    call_command("migrate", database=ODD, verbosity=0)
    yield ODD
    recorder.flush()
    connections[ODD].close()
    del connections[ODD]
    pg_server.drop(name)


def test_the_publishes_of_a_second_database_are_noted_there(second: str, capsys: pytest.CaptureFixture[str]) -> None:
    [product] = LegacyProduct.objects.using(second).bulk_create([LegacyProduct(name="a", price=1)])
    for price in (2, 3):
        with transaction.atomic(using=second):
            product.price = price
            product.save(using=second)  # publishes in the transaction
    LegacyProduct.objects.using(second).update(price=9)
    recorder.flush()
    [verdict] = report(connections[second], settled=timedelta(0))
    assert (verdict.early, verdict.missed, verdict.publishes) == (2, 1, 2)
    done = CliRunner().invoke(shadow, ["--database", second, "--json"])
    assert json.loads(done.output)[0]["early"] == 2
    capsys.readouterr()
    with pytest.raises(SystemExit):
        call_command("bridge", "shadow", "--database", second, "--json")
    assert json.loads(capsys.readouterr().out)[0]["early"] == 2
    call_command("bridge", "explain", "catalog.LegacyProduct", "--database", second)
    assert "catalog.legacyproduct_reprice_legacy" in capsys.readouterr().out
    said = CliRunner().invoke(shadow, []).output
    assert said == "Error: the database has no schema bridge; run `manage.py migrate`\n"


def test_the_command_that_mends_it_can_be_given_to_a_shell(second: str) -> None:
    with connections[second].cursor() as cursor:
        cursor.execute("drop schema bridge cascade")
    said = CliRunner().invoke(shadow, ["--database", second]).output
    assert said == f"Error: the database has no schema bridge; run `manage.py migrate --database '{second}'`\n"


def test_a_database_that_is_away_is_an_error_without_a_traceback(
    shop_database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(connection.settings_dict, "NAME", "nobody_has_it")
    with closing(connection):
        done = CliRunner().invoke(shadow, [])
    assert (done.exit_code, done.output.startswith("Error: the report can't be read: ")) == (1, True), done.output


def test_a_task_that_was_sent_in_the_transaction_is_equal(shadow_watch: Report, ledger: Ledger) -> None:
    for pk in ledger.pks[:3]:
        with transaction.atomic():
            LegacyProduct.objects.filter(pk=pk).update(price=999)
            delay_in_transaction(reprice_legacy, product_id=pk)
    delay_in_transaction(reprice_legacy, ledger.pks[9])
    [verdict] = shadow_watch()
    assert (verdict.equal, verdict.missed, verdict.needless, verdict.publishes) == (3, 0, 1, 4), verdict


def test_full_notes_are_said(shadow_watch: Report, ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    assert not shadow_watch()[0].is_full
    with connection.cursor() as cursor:
        cursor.execute(
            "insert into bridge.shadow_publish (at, task, args, inside, place) "
            "select now() - interval '23 hours', 't', '[]', false, repeat('x', 7000) from generate_series(1, 36000)"
        )
        cursor.execute("alter table bridge.shadow_publish alter place set storage plain")
        cursor.execute("update bridge.shadow_publish set place = repeat('x', 7000)")
    [verdict] = shadow_watch()
    assert verdict.is_full
    assert "The table of notes is full" in "\n".join(rendering.as_lines([verdict]))


def test_a_statement_moves_no_cursor_of_the_terminal(shadow_watch: Report, ledger: Ledger) -> None:
    with connection.cursor() as cursor:
        cursor.execute(
            f"update catalog_legacyproduct set price = 7 /* \x1b[2J\x1b]0;x\x07 */ where id = {ledger.pks[0]}"
        )
    lines = "\n".join(rendering.as_lines(shadow_watch()))
    assert "set price = 7 /* \\x1b[2J" in lines
    assert "\x1b" not in lines + rendering.as_json(shadow_watch())
