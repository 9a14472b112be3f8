"""Statements that the Django app sends reach none of the planted objects (tests/hostile/plant.sql).

Django's own statements run with the project's search_path, and the ORM queries of the admin are Django's own. With
the usual path they reach no planted object either.
"""

import io
from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import pytest
from catalog.models import Product
from django.contrib.auth.models import User
from django.core.management import call_command
from django.db import connection
from django.test import Client
from shop.settings import database as database_settings

from bridge.database import schema
from django_app.database import installed_version
from django_app.declarations import registry
from django_app.declarations.sync import bring_in_line, look
from django_app.inbox import once
from tests.django.admin_site import bury, event_page, execute
from tests.fix_hostile import Hostile

# Only the statements of the bridge's app contain this text: they name its schema.
OURS = "bridge."
PAGES = [
    "event/",
    "event/?op=update",
    "event/?watch=catalog.product_reprice",
    "event/?q={key}",
    "event/?user=anna&since=1h",
    "event/?xid=5",
    "event/of/catalog.product/{key}/",
    "{event}",
    "stream/",
    "deadletter/",
    "deadletter/?reason=x",
    "deadletter/{letter}/change/",
    "deadletter/{letter}/edit/",
    "deadletter/{letter}/retry/",
    "watch/",
    "watch/?q=reprice",
    "watch/?removed_at__isempty=1",
    "watch/catalog.product_5Freprice/change/",
]


class Reached:
    """A wrapper that records each statement of Django's connection that reached a planted object."""

    def __init__(self, hostile: Hostile) -> None:
        self._hostile = hostile
        self.statements: list[tuple[str, str]] = []

    def __call__(self, execute: Any, statement: str, *rest: Any) -> Any:
        try:
            return execute(statement, *rest)
        finally:
            for name in self._hostile.reached():
                self.statements.append((name, statement[:300]))
                self._hostile.forget()

    @property
    def ours(self) -> list[tuple[str, str]]:
        return [reached for reached in self.statements if OURS in reached[1]]


@pytest.fixture
def reached(unready: Hostile, monkeypatch: pytest.MonkeyPatch) -> Iterator[Reached]:
    """Points Django's default connection to a database with planted objects, in which nothing is installed."""
    connection.close()
    for name, value in database_settings(unready.database.dsn).items():
        monkeypatch.setitem(connection.settings_dict, name, value)
    reached = Reached(unready)
    with connection.execute_wrapper(reached):
        yield reached
    connection.close()


@pytest.mark.parametrize("path", ["default"], indirect=True)
def test_a_project_on_the_usual_path_reaches_no_planted_object(reached: Reached) -> None:
    call_command("migrate", verbosity=0)
    product = Product.objects.create(name="Tea", price=1)
    Product.objects.update(price=2)
    call_command("bridge_sync", stdout=io.StringIO())
    call_command("check", databases=["default"])
    with once(str(uuid4())) as first:
        assert first
    client = Client(SERVER_NAME="localhost")
    client.force_login(User.objects.create_superuser("admin"))
    places = {"key": product.pk, "event": event_page(), "letter": bury()}
    for page in PAGES:
        assert client.get(f"/admin/bridge/{page.format(**places)}").status_code == 200, page
    client.post(f"/admin/bridge/deadletter/{places['letter']}/retry/", {"confirmed": "yes"})
    assert execute("select count(*) from bridge.dead_letter") == [(0,)]
    assert reached.statements == []


@pytest.mark.parametrize("path", ["public_first"], indirect=True)
def test_our_own_statements_reach_none_on_any_path(reached: Reached, monkeypatch: pytest.MonkeyPatch) -> None:
    """If public comes first in the path, Django's own statements reach planted objects. Ours must not."""
    with connection.cursor() as cursor:
        cursor.execute(schema.read())
        cursor.execute("create table public.catalog_product (id int primary key, price int, name text)")
    assert installed_version(connection) == schema.version()
    assert [change.action for change in look(connection).changes] == ["create"]
    assert [change.action for change in bring_in_line(connection).changes] == ["create"]
    monkeypatch.setattr(registry, "_in_code", [])
    assert [change.action for change in bring_in_line(connection).changes] == ["remove"]
    with once(str(uuid4())) as first:
        assert first
    assert reached.ours == []
