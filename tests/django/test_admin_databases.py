"""The admin of a project with two databases: one has its users, the other one the bridge and the watched tables."""

import re
from collections.abc import Iterator
from http import HTTPStatus
from typing import Any

import pytest
from catalog.models import Product
from django.core.management import call_command
from django.db import connections
from django.test import Client, override_settings

from django_app.watched import Watched
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


@pytest.fixture
def both(migrated: Database, pg_server: PgServer, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Client, int]]:
    """Two databases with the bridge, each with one event and one dead letter, whose ids are the same."""
    database = pg_server.create()
    monkeypatch.setitem(connections.settings, "second", {**connections.settings["default"], "NAME": database.name})
    names = ["default", "second"]
    with override_settings(BRIDGE_DATABASE=names, DATABASE_ROUTERS=["tests.django.test_admin_databases.Router"]):
        call_command("migrate", database="second", verbosity=0)
        for each, word in ((migrated, "first"), (database, "second")):
            with each.connect() as connection:
                connection.execute("insert into catalog_product (id, name, price) values (7, %s, 1)", [f"Tea {word}"])
                for price in (2, 3):
                    connection.execute(
                        "select set_config('bridge.context', %s, false)", [f'{{"reason": "of the {word}"}}']
                    )
                    connection.execute("update catalog_product set price = %s", [price])
                ((number,),) = connection.execute(
                    """
                    select e.id from bridge.event e, bridge.bury(e.stream, array[id], array[at], array[xid], array[%s])
                    order by e.id limit 1
                    """,
                    [f"reason of the {word}"],
                )
        yield superuser(), number
    connections["second"].close()
    del connections["second"]
    pg_server.drop(database.name)


def test_a_page_leads_only_to_pages_of_its_own_database(both: tuple[Client, int]) -> None:
    client, _ = both
    todo, seen = ["/admin/bridge/event/?database=second", "/admin/catalog/product/7/change/"], set[str]()
    while todo:
        address = todo.pop()
        seen.add(address)
        # "Clear all filters" also clears the choice of the database.
        content = re.sub(r"<a [^>]*>[^<]*Clear all filters</a>", "", page(client, address).partition('id="content"')[2])
        assert "of the first" not in content, address
        own = re.findall(r'href="(/admin/bridge/(?:event|watch|stream|deadletter)/[^"]*|\?[^"]*)"', content)
        for href in own:
            target = (address.partition("?")[0] + href if href.startswith("?") else href).replace("&amp;", "&")
            if "database=second" not in target and "database%3Dsecond" not in target:
                assert href == "?", f"{address} leads to {target}"  # the filter's link to the first database
            elif target not in seen and len(seen) < 60:
                todo.append(target)
    assert any("/of/catalog.product/7/?database=second" in address for address in seen)
    assert any("/deadletter/" in address for address in seen)
    assert "of the first" in page(client, "event/of/catalog.product/7/") + page(client, "deadletter/")


def test_a_decision_is_about_the_database_that_is_shown(both: tuple[Client, int]) -> None:
    client, number = both
    asked = client.post(
        f"{BASE}deadletter/?database=second", {"action": "discard", "_selected_action": [str(number)]}
    ).content.decode()
    assert "Database: second" in asked
    assert "reason of the second" in asked
    answer = client.post(f"{BASE}deadletter/{number}/retry/?database=second", {"confirmed": "yes"})
    assert answer.headers["Location"] == f"{BASE}deadletter/?database=second"
    left = {}
    for using in ("default", "second"):
        with connections[using].cursor() as cursor:
            cursor.execute("select count(*) from bridge.dead_letter where id = %s", [number])
            left[using] = cursor.fetchone()
    assert left == {"default": (1,), "second": (0,)}


def test_a_wrong_filter_leads_to_the_list_of_the_same_database(both: tuple[Client, int]) -> None:
    client, _ = both
    for kind in ("event", "deadletter", "watch"):
        answer = client.get(f"{BASE}{kind}/?database=second&id__gt=1", follow=True)
        assert answer.redirect_chain == [(f"{BASE}{kind}/?e=1&database=second", HTTPStatus.FOUND)]
        assert "of the first" not in answer.content.decode().partition('id="content"')[2]


def test_a_database_that_is_not_of_the_bridge_has_no_page(both: tuple[Client, int]) -> None:
    client, _ = both
    for address in ("event/?database=third", "deadletter/?_changelist_filters=database%3Dthird"):
        assert client.get(BASE + address).status_code == HTTPStatus.NOT_FOUND


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


def test_a_database_that_is_away_is_said(migrated: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    away = {**connections.settings["default"], "HOST": "127.0.0.1", "PORT": "9"}
    monkeypatch.setitem(connections.settings, "away", away)
    client = superuser()
    with override_settings(BRIDGE_DATABASE=["default", "away"]):
        for each in ("event/", "event/default-1-1/change/", "event/of/catalog.product/1/", "stream/", "watch/",
                     "watch/any/change/", "deadletter/", "deadletter/1/change/"):  # fmt: skip
            kept = "?_changelist_filters=database%3Daway" if "change" in each else "?database=away"
            answer = client.get(f"{BASE}{each}{kept}")
            assert answer.status_code == HTTPStatus.SERVICE_UNAVAILABLE, each
            assert "The database &#x27;away&#x27; gives no answer" in answer.content.decode()
    del connections["away"]
