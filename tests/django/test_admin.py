"""The admin shows events and watches, and can't change them."""

from http import HTTPStatus

import pytest
from catalog.models import Product
from django.contrib.auth.models import User
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from django_app.models import Watch
from tests.fix_postgres import Database, on_pg18

pytestmark = on_pg18


@pytest.fixture
def client(migrated: Database) -> Client:
    client = Client(SERVER_NAME="localhost")
    client.force_login(User.objects.create_superuser("admin"))
    return client


@pytest.fixture
def product(migrated: Database) -> Product:
    product = Product.objects.create(name="Tea", price=1)
    Product.objects.update(price=2)
    return product


def test_events_are_listed_filtered_and_searched_by_key(client: Client, product: Product) -> None:
    for query in ("", "?op=update", "?watch=catalog.product_reprice", f"?q={product.pk}"):
        assert b"1 event" in client.get(f"/admin/bridge/event/{query}").content, query
    for query in ("?op=delete", "?q=nothing", "?q=4711"):
        assert b"0 events" in client.get(f"/admin/bridge/event/{query}").content, query


def test_the_event_list_asks_for_no_more_than_it_shows(client: Client) -> None:
    Product.objects.bulk_create(Product(name="Tea", price=1) for _ in range(51))  # one more than a page
    Product.objects.update(price=2)
    with CaptureQueriesContext(connection) as queries:
        client.get("/admin/bridge/event/")
    about_events = [query["sql"] for query in queries if '"bridge"."event"' in query["sql"]]
    assert about_events
    assert all("LIMIT" in statement for statement in about_events)


def test_watches_are_listed_filtered_and_shown(client: Client) -> None:
    for query in ("", "?removed_at__isempty=1", "?stream=default", "?q=reprice"):
        listed = client.get(f"/admin/bridge/watch/{query}").content
        assert b"catalog.tasks.reprice" in listed, query
        assert b'<td class="field-columns">price</td>' in listed, "a list must be shown as text"
    shown = client.get("/admin/bridge/watch/catalog.product_5Freprice/change/").content
    assert b'<div class="readonly">price</div>' in shown


def test_lists_of_a_watch_are_lists_that_can_be_asked_for(migrated: Database) -> None:
    watch = Watch.objects.get()
    assert (watch.operations, watch.columns, watch.key, watch.data) == (["update"], ["price"], None, None)
    assert Watch.objects.filter(columns=["price"], key=None, operations__contains=["update"]).exists()
    assert not Watch.objects.filter(operations__contains=["update", "delete"]).exists()
    assert not Watch.objects.filter(columns=["name"]).exists()


def test_nothing_can_be_changed(client: Client, product: Product) -> None:
    for page in ("event/add/", "watch/add/", "watch/catalog.product_reprice/delete/"):
        assert client.get(f"/admin/bridge/{page}").status_code == HTTPStatus.FORBIDDEN, page
    shown = client.get("/admin/bridge/watch/catalog.product_5Freprice/change/", follow=True).content
    assert b'name="_save"' not in shown
