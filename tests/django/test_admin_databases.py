"""The admin of a project with two databases: one has its users, the other one the bridge and the watched tables."""

from collections.abc import Iterator
from typing import Any

import pytest
from catalog.models import Product
from django.core.management import call_command
from django.db import connections
from django.test import override_settings

from django_app.admin.row import Watched
from tests.django.admin_site import BASE, page, superuser
from tests.fix_postgres import Database, PgServer, on_pg18

pytestmark = on_pg18


class Router:
    """Puts the catalogue into the second database."""

    def db_for_read(self, model: Any, **_: Any) -> str | None:
        return "second" if model._meta.app_label == "catalog" else None

    db_for_write = db_for_read


@pytest.fixture
def second(migrated: Database, pg_server: PgServer, monkeypatch: pytest.MonkeyPatch) -> Iterator[Database]:
    database = pg_server.create()
    monkeypatch.setitem(connections.settings, "second", {**connections.settings["default"], "NAME": database.name})
    with migrated.connect() as first:
        first.execute("drop schema bridge cascade")
    with override_settings(BRIDGE_DATABASE="second", DATABASE_ROUTERS=["tests.django.test_admin_databases.Router"]):
        call_command("migrate", database="second", verbosity=0)
        yield database
    connections["second"].close()
    del connections["second"]
    pg_server.drop(database.name)


def test_all_pages_read_the_database_of_the_bridge(second: Database) -> None:
    product = Product.objects.create(name="Tea", price=1)
    Product.objects.update(price=2)
    with second.connect() as connection:
        ((stream, xid, number),) = connection.execute("select stream, xid::text, id from bridge.event").fetchall()
        connection.execute(
            "select bridge.bury(stream, array[id], array[at], array[xid], '{because}') from bridge.event"
        )
    client = superuser()
    assert f"/event/of/catalog.product/{product.pk}/" in page(client, f"/admin/catalog/product/{product.pk}/change/")
    for address in (
        "event/", f"event/{stream}-{xid}-{number}/change/", f"event/of/catalog.product/{product.pk}/", "stream/",
        "watch/", "watch/catalog.product_5Freprice/change/", "deadletter/", f"deadletter/{number}/edit/",
    ):  # fmt: skip
        page(client, address)
    client.post(f"{BASE}deadletter/{number}/retry/", {"confirmed": "yes"})
    with second.connect() as connection:
        assert connection.execute("select count(*) from bridge.dead_letter").fetchone() == (0,)


@pytest.mark.parametrize(
    ("db_table", "schema", "table", "is_visible", "matches"),
    [
        ("catalog_product", "public", "catalog_product", True, True),
        ("catalog_product", "other", "catalog_product", False, False),
        ('"other"."catalog_product"', "other", "catalog_product", False, True),
        ('"other"."catalog_product"', "public", "catalog_product", True, False),
        ('"Odd table, 1"', "public", "Odd table, 1", True, True),
        ("Odd table, 1", "public", "Odd table, 1", True, True),
        ('"a.b"."c.d"', "a.b", "c.d", False, True),
    ],
)
def test_a_model_is_found_by_its_table(
    pg_server: PgServer, monkeypatch: pytest.MonkeyPatch, db_table: str, schema: str, table: str, is_visible: bool,
    matches: bool,
) -> None:  # fmt: skip
    monkeypatch.setattr(Product._meta, "db_table", db_table)
    assert Watched("w", schema, table, is_visible, ("id",)).is_of(Product) is matches
