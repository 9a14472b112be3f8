"""`migrate` and `bridge_sync` make the watches in the database match the declarations."""

import io
import re
from typing import Any

import psycopg
import pytest
from catalog.models import Offer, Product
from catalog.tasks import reprice
from django.apps import apps
from django.conf import settings
from django.core.management import CommandError, call_command
from django.db import connections
from django.db.models.signals import post_migrate, pre_migrate

from django_app import allowances, log_index, patience, watch
from django_app import apps as bridge_app
from django_app.declarations import registry, sync
from django_app.findings import findings
from tests.fix_postgres import Database, on_pg18

REPRICE = "catalog.product_reprice"


def rows(database: Database, query: str) -> list[Any]:
    with database.connect() as other:
        return other.execute(query.encode()).fetchall()


def watches(database: Database) -> list[str]:
    return [name for (name,) in rows(database, "select name from bridge.watch where removed_at is null order by 1")]


def bridge_sync(*arguments: str) -> tuple[int, str]:
    out = io.StringIO()
    try:
        call_command("bridge_sync", *arguments, stdout=out)
    except SystemExit as end:
        return int(end.code or 0), out.getvalue()
    return 0, out.getvalue()


def test_migrate_installs_the_watches_and_a_change_leaves_an_event(migrated: Database) -> None:
    product = Product.objects.create(name="Tea", price=1)
    Product.objects.filter(pk=product.pk).update(price=2)
    Product.objects.filter(pk=product.pk).update(name="Green tea")
    assert rows(migrated, "select watch, op, key from bridge.event") == [(REPRICE, "update", [product.pk])]


@on_pg18
def test_migrate_says_what_it_changed(shop_database: Database) -> None:
    out = io.StringIO()
    call_command("migrate", stdout=out)
    assert f"create {REPRICE}" in out.getvalue()


@on_pg18
def test_migrate_does_not_report_what_it_is_about_to_mend(migrated: Database) -> None:
    with migrated.connect() as other:
        other.execute("select bridge.unwatch('catalog.product_reprice')")
    said = io.StringIO()
    call_command("migrate", stdout=io.StringIO(), stderr=said, skip_checks=False)
    assert "bridge.W010" not in said.getvalue()


@on_pg18
def test_models_and_migration_agree(migrated: Database) -> None:
    call_command("makemigrations", check=True, dry_run=True, verbosity=0)


@on_pg18
def test_migrating_to_zero_removes_everything(migrated: Database) -> None:
    call_command("migrate", "bridge", "zero", verbosity=0)
    assert rows(migrated, "select to_regnamespace('bridge') is null") == [(True,)]
    assert rows(migrated, "select count(*) from pg_trigger where not tgisinternal") == [(0,)]


@on_pg18
def test_a_watch_waits_for_its_table(shop_database: Database) -> None:
    call_command("migrate", "bridge", verbosity=0)
    assert watches(shop_database) == []
    status, said = bridge_sync("--check")
    assert status == 1
    assert f'NOT INSTALLED {REPRICE}: table "catalog_product" does not exist, so its changes start nothing.' in said
    assert re.search(r"or remove the watch in catalog/watches\.py:\d+$", said, re.MULTILINE)
    call_command("migrate", "catalog", verbosity=0)
    assert watches(shop_database) == [REPRICE]


@on_pg18
def test_a_watch_without_its_column_is_reported_with_its_declaration(migrated: Database, undeclared: None) -> None:
    watch("catalog_product", task="t.t", columns=["colour", "weight"], name="odd")
    status, said = bridge_sync("--check")
    assert status == 1
    assert 'NOT INSTALLED odd: table catalog_product has no column "colour", "weight", so its changes start' in said
    assert re.search(r"or remove the watch in tests/django/test_migrate\.py:\d+$", said, re.MULTILINE)


@on_pg18
def test_bridge_sync_check_finds_and_sync_repairs(migrated: Database) -> None:
    assert bridge_sync("--check") == (0, "All watches match their declarations.\n")
    with migrated.connect() as other:
        other.execute('drop trigger "bridge_update_catalog.product_reprice" on catalog_product')
    assert bridge_sync("--check") == (1, f"repair {REPRICE}\n")
    assert bridge_sync() == (0, f"repair {REPRICE}\n")
    assert bridge_sync("--check")[0] == 0


@on_pg18
def test_a_vanished_watch_is_removed_but_never_one_of_others(migrated: Database, undeclared: None) -> None:
    with migrated.connect() as other:
        other.execute("select bridge.watch('mine', 'catalog_offer', 't.t')")
    watch(Offer, task=reprice, on=["insert"])
    call_command("migrate", verbosity=0)
    assert watches(migrated) == ["catalog.offer_reprice", "mine"]


@on_pg18
def test_two_projects_on_one_database_do_not_remove_each_others_watches(
    migrated: Database, undeclared: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first project has no name. What the second one declares has its name."""
    with monkeypatch.context() as second:
        second.setattr(settings, "BRIDGE_PROJECT", "billing", raising=False)
        second.setattr(registry, "_in_code", [])
        watch(Offer, task="billing.tasks.charge", name="charge")
        call_command("migrate", verbosity=0)
        assert watches(migrated) == [REPRICE, "charge"]
    watch(Product, task=reprice, name="mine")
    call_command("migrate", verbosity=0)
    assert watches(migrated) == ["charge", "mine"]
    with migrated.connect() as other:
        source = "select source from bridge.sendable where task = 'catalog.tasks.reprice'"
        assert other.execute(source).fetchone() == ("django",)


@on_pg18
def test_the_removal_of_a_watch_of_an_unknown_task_is_doubted(
    migrated: Database, undeclared: None, capsys: pytest.CaptureFixture[str]
) -> None:
    """Two projects without names: the removal can't be refused, but it does not happen silently."""
    watch(Offer, task="billing.tasks.charge", name="charge")
    call_command("migrate", verbosity=0)
    registry._in_code.clear()
    [finding] = [line for line in findings() if "charge" in line]
    assert (
        "if another project on this database declares this watch, give each project its own BRIDGE_PROJECT" in finding
    )
    assert finding.endswith("; else run `manage.py migrate`")
    call_command("migrate")
    out = capsys.readouterr().out
    assert "remove charge" in out
    assert "  ! The project has no task billing.tasks.charge: if another project" in out


@on_pg18
def test_a_changed_declaration_is_shown_as_a_diff(migrated: Database, undeclared: None) -> None:
    watch(Product, task=reprice, on=["update"], columns=["price"], queue="updates")
    status, said = bridge_sync("--check")
    assert status == 1
    assert f"replace {REPRICE}" in said
    assert '+ options.queue = "updates"' in said


@on_pg18
def test_an_older_installation_is_upgraded(migrated: Database) -> None:
    with migrated.connect() as other:
        other.execute("update bridge.installation set version = '0.0.1'")
    assert bridge_sync("--check")[1].startswith("upgrade triggers.sql")
    call_command("migrate", verbosity=0)
    assert bridge_sync("--check")[0] == 0


@on_pg18
def test_a_broken_condition_changes_nothing_and_says_why(migrated: Database, undeclared: None) -> None:
    watch(Offer, task=reprice)
    watch(Product, task=reprice, when="new.nothing > 1")
    with pytest.raises(CommandError, match=r"Nothing was changed: .*the condition does not work"):
        call_command("bridge_sync")
    assert watches(migrated) == [REPRICE]


@on_pg18
def test_a_table_in_use_is_given_up_after_some_attempts(
    migrated: Database, undeclared: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(patience, "LOCK_TIMEOUT", "20ms")
    watch(Offer, task=reprice)
    with psycopg.connect(migrated.dsn) as writer:
        writer.execute("lock table catalog_offer in row exclusive mode")
        with pytest.raises(CommandError, match=r"could not lock the tables of .*catalog\.offer_reprice"):
            call_command("bridge_sync")
    assert bridge_sync()[0] == 0, "the command must work after the writer has left"


def test_another_database_than_postgresql_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    sqlite = {**connections.settings["default"], "ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}
    monkeypatch.setitem(connections.settings, "file", sqlite)
    with pytest.raises(CommandError, match="is SQLite; Commit Bridge needs PostgreSQL"):
        call_command("bridge_sync", database="file")


def test_only_the_signals_of_this_app_start_anything(monkeypatch: pytest.MonkeyPatch) -> None:
    """A connection with a sender compares only its id, which another app may get when the apps are loaded again."""
    started: list[str] = []
    monkeypatch.setattr(sync, "before_migrate", lambda using, *_: started.append(f"before {using}"))
    monkeypatch.setattr(sync, "after_migrate", lambda using, *_: started.append(f"after {using}"))
    for rest in (allowances, log_index):
        monkeypatch.setattr(rest, "after_migrate", lambda *_: None)
    for config in apps.get_app_configs():
        bridge_app._guard(sender=config, using="default", verbosity=0)
        bridge_app._bring_in_line(sender=config, using="default", verbosity=0)
    keys = [entry[0] for signal in (pre_migrate, post_migrate) for entry in signal.receivers]
    ours = [sender for name, sender in keys if name in ("bridge.guard", "bridge.bring_in_line")]
    assert ours == [id(None)] * 2, "no sender is given"
    assert started == ["before default", "after default"]
