"""Fixtures of Django: dumpdata writes neither watches nor events, and loaddata loads none."""

import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from catalog.models import Product
from django.core.management import call_command
from django.db import router
from django.test import override_settings

from django_app.models import Event
from django_app.router import FixtureRouter
from tests.fix_postgres import Database, on_pg18

pytestmark = on_pg18

# An event in a fixture that an older version dumped.
EVENT = {
    "model": "bridge.event",
    "pk": 4711,
    "fields": {
        "xid": "1", "stream": "default", "watch": "catalog.product_reprice", "op": "update", "key": [1], "data": None,
        "context": None, "at": "2026-11-01T00:00:00Z",
    },
}  # fmt: skip
WATCH = {
    "model": "bridge.watch",
    "pk": "foreign",
    "fields": {
        "relation": "catalog_offer", "task": "t.t", "operations": ["insert"], "columns": None, "condition": None,
        "key": None, "data": None, "options": {}, "stream": "default", "changed_at": "2026-11-01T00:00:00Z",
        "removed_at": None,
    },
}  # fmt: skip


@pytest.fixture
def product(migrated: Database) -> Product:
    """Returns a product that has an event in the log."""
    product = Product.objects.create(name="Tea", price=1)
    Product.objects.update(price=2)
    assert Event.objects.count() == 1
    return product


def dumped(*arguments: str) -> set[str]:
    """Returns the models that a dump contains."""
    out = io.StringIO()
    call_command("dumpdata", *arguments, stdout=out)
    return {row["model"] for row in json.loads(out.getvalue())}


def events_and_watches(database: Database) -> list[Any]:
    with database.connect() as other:
        return other.execute(
            "select (select count(*) from bridge.event), (select array_agg(name) from bridge.watch),"
            " (select count(*) from bridge.dead_letter)"
        ).fetchall()


@pytest.mark.parametrize("more", [(), ("--all",), ("--natural-foreign",)], ids=["", "all", "natural"])
def test_a_dump_of_everything_is_without_the_bridges_tables(product: Product, more: tuple[str, ...]) -> None:
    models = dumped(*more)
    assert "catalog.product" in models
    assert {model for model in models if model.startswith("bridge.")} == set()


@pytest.mark.parametrize("label", ["bridge", "bridge.Event", "bridge.Watch"])
@pytest.mark.parametrize("more", [(), ("--all",)], ids=["", "all"])
def test_a_dump_of_the_bridge_is_empty(product: Product, label: str, more: tuple[str, ...]) -> None:
    assert dumped(label, *more) == set()


def test_rows_of_the_bridge_in_a_fixture_are_not_loaded(product: Product, migrated: Database, tmp_path: Path) -> None:
    before = events_and_watches(migrated)
    fixture = tmp_path / "old.json"
    green = {"model": "catalog.product", "pk": 42, "fields": {"name": "Green tea", "price": "3.00"}}
    fixture.write_text(json.dumps([EVENT, WATCH, green]))
    out = io.StringIO()
    call_command("loaddata", fixture, stdout=out)
    assert Product.objects.filter(pk=42).exists(), "the project's own rows must be loaded"
    assert out.getvalue() == "Installed 1 object(s) (of 3) from 1 fixture(s)\n"
    assert events_and_watches(migrated) == before


class EverythingEverywhere:
    """A router of the project that allows every model."""

    def allow_migrate(self, db: str, app_label: str, **hints: Any) -> bool:
        return True


@pytest.fixture
def other_routers() -> Iterator[None]:
    for _ in range(2):  # Django makes the list of routers anew when the setting changes, and when it changes back
        with override_settings(DATABASE_ROUTERS=[]):
            pass
    with override_settings(DATABASE_ROUTERS=[EverythingEverywhere()]):
        yield


def test_a_router_of_the_project_does_not_bring_them_back(product: Product, other_routers: None) -> None:
    assert [type(each) for each in router.routers] == [FixtureRouter, EverythingEverywhere]
    assert dumped("bridge", "catalog.Product") == {"catalog.product"}


def test_migrations_of_the_app_run_as_before(shop_database: Database) -> None:
    for alias in ("default", "other"):
        assert router.allow_migrate(alias, "bridge"), "steps without a model must be allowed"
    call_command("migrate", verbosity=0)
    call_command("makemigrations", check=True, dry_run=True, verbosity=0)
    assert Event.objects.count() == 0
