"""The admin's lists show events, watches and streams, and change nothing."""

import html
import json
import re
from http import HTTPStatus
from urllib.parse import urlencode

import pytest
from catalog.models import Product
from django.contrib.auth.models import User
from django.db import connection
from django.test import Client

from django_app.admin import log
from django_app.models import Watch
from tests.django.admin_site import change, page, superuser
from tests.fix_postgres import Database, on_pg18

pytestmark = on_pg18

EVENTS = "/admin/bridge/event/"


@pytest.fixture
def client(migrated: Database) -> Client:
    return superuser()


@pytest.fixture
def product(migrated: Database) -> Product:
    product = Product.objects.create(name="Tea", price=1)
    change(product, "1.50", '{"user": "anna", "user_id": 7, "path": "/admin/"}')
    return product


def xid() -> str:
    with connection.cursor() as cursor:
        cursor.execute("select xid::text from bridge.event order by id desc limit 1")
        return str(cursor.fetchone()[0])


def listed(client: Client, query: str) -> int:
    """Returns the number of events that the list says it has found."""
    answer = client.get(EVENTS + query, follow=True)
    assert answer.status_code == HTTPStatus.OK, query
    assert not answer.redirect_chain, query
    return int((answer.context_data or {})["cl"].result_count)


LISTED = [
    "",
    "?op=update",
    "?watch=catalog.product_reprice",
    "?stream=default",
    "?user=anna",
    "?since=5m",
    "?since=2020-01-01T00:00:00&until=2999-01-01T00:00",
    "?q={pk}",
    "?q=[{pk}]",
    "?xid={xid}",
    "?before={xid}",
]


def test_events_that_meet_the_conditions_are_listed(client: Client, product: Product) -> None:
    for query in LISTED:
        assert listed(client, query.format(pk=product.pk, xid=xid())) == 1


def test_a_user_is_found_however_the_context_is_written(client: Client, product: Product) -> None:
    users = {"7": 7, "zo\u00eb": "zo\u00eb", 'a"b\\c': 'a"b\\c', "ev(il": "ev(il", "tab\there": "tab\there"}
    for price, (query, user) in enumerate(users.items(), 10):
        change(product, f"{price}", json.dumps({"user": user}, ensure_ascii=price % 2 == 0, separators=(",", ":")))
        assert listed(client, f"?{urlencode({'user': query})}") == 1, query
    change(product, "3", "no JSON: { anna")
    assert listed(client, "") == len(users) + 2


def test_a_user_whose_key_the_context_has_is_shown_and_found_by_name(client: Client, product: Product) -> None:
    eve = User.objects.create_user("eve")
    change(product, "5", json.dumps({"user": eve.pk, "path": "/"}))
    change(product, "6", json.dumps({"user": eve.pk * 10 + 1}))
    assert listed(client, "?user=eve") == listed(client, f"?user={eve.pk}") == 1
    assert '<td class="field-user">eve</td>' in client.get(EVENTS).content.decode()


NOT_LISTED = [
    "?op=delete",
    "?watch=other",
    "?user=ann",
    "?user=an%25",
    "?user=.*",
    "?stream=other",
    "?until=5m",
    "?q=nothing",
    "?q=4711",
    "?q=[[[[",
    "?q=1e999999",
    "?q=NaN",
    '?q="\\u0000"',
    "?q=" + "[" * 3000,
    "?xid=1",
    "?before=1",
]


def test_other_events_are_not_listed(client: Client, product: Product) -> None:
    for query in NOT_LISTED:
        assert listed(client, query) == 0


WRONG = [
    "?xid=abc",
    "?xid=99999999999999999999",
    "?before=-1",
    "?since=yesterday",
    "?since=2026-99-99",
    "?p=0",
    "?p=9",
    "?p=100000000000",
    "?id__gt=1",
    "?data__x=1",
    "?watch=a%00b",
    "?stream=a%00b",
    "?user=a%00b",
    "?user=" + "x" * 60_000,
]


def test_a_wrong_parameter_is_no_error(client: Client, product: Product) -> None:
    for query in WRONG:
        answer = client.get(EVENTS + query)
        assert answer.headers.get("Location") == f"{EVENTS}?e=1", query
        assert "a value that can&#x27;t be used. The whole list is shown." in page(client, "event/?e=1")


def test_watches_are_listed_filtered_and_shown_with_their_sql(client: Client) -> None:
    for query in ("", "?removed_at__isempty=1", "?stream=default", "?q=reprice"):
        listed = client.get(f"/admin/bridge/watch/{query}").content
        assert b"catalog.tasks.reprice" in listed, query
        assert b'<td class="field-columns">price</td>' in listed, "a list must be shown as text"
    shown = client.get("/admin/bridge/watch/catalog.product_5Freprice/change/").content
    assert b'<div class="readonly">price</div>' in shown
    assert b"CREATE TRIGGER" in shown
    assert b"WHEN (" in shown
    assert b"CREATE OR REPLACE FUNCTION bridge" in shown


def test_a_disabled_trigger_is_pointed_out(client: Client) -> None:
    page = "/admin/bridge/watch/catalog.product_5Freprice/change/"
    assert b"This trigger is disabled" not in client.get(page).content
    with connection.cursor() as cursor:
        cursor.execute("alter table catalog_product disable trigger user")
    assert b"This trigger is disabled" in client.get(page).content


def test_streams_are_listed_with_lag_and_state(client: Client, product: Product) -> None:
    page = client.get("/admin/bridge/stream/").content.decode()
    assert "nobody serves it: start `manage.py bridge run`" in page
    assert '<td class="field-waiting">1</td>' in page
    assert 'href="/admin/bridge/event/?stream=default"' in page


def test_a_declared_watch_that_is_not_installed_is_pointed_out(client: Client, product: Product) -> None:
    page = "/admin/bridge/stream/"
    assert b"bridge-note" not in client.get(page).content
    with connection.cursor() as cursor:
        cursor.execute("select bridge.unwatch('catalog.product_reprice')")
    shown = client.get(page).content.decode()
    assert "catalog.product_reprice" in shown
    assert "manage.py migrate" in shown


def test_lists_of_a_watch_are_lists_that_can_be_asked_for(migrated: Database) -> None:
    watch = Watch.objects.get()
    assert (watch.operations, watch.columns, watch.key, watch.data) == (["update"], ["price"], None, None)
    assert Watch.objects.filter(columns=["price"], key=None, operations__contains=["update"]).exists()
    assert not Watch.objects.filter(operations__contains=["update", "delete"]).exists()
    assert not Watch.objects.filter(columns=["name"]).exists()


def test_nothing_can_be_changed(client: Client, product: Product) -> None:
    for way in ("event/add/", "watch/add/", "stream/add/", "deadletter/add/", "watch/catalog.product_reprice/delete/"):
        assert client.get(f"/admin/bridge/{way}").status_code == HTTPStatus.FORBIDDEN, way
    shown = client.get("/admin/bridge/watch/catalog.product_5Freprice/change/", follow=True).content
    assert b'name="_save"' not in shown


def test_a_search_says_where_it_stopped_and_goes_on_from_there(
    client: Client, product: Product, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(log, "DEPTH", 2)
    for price in range(10, 14):
        change(product, str(price), '{"user": "eve"}')
    found, page = 0, EVENTS + "?user=anna"
    for _ in range(10):
        shown = client.get(page).content.decode()
        found += "1 event" in shown
        older = re.search(r'<a href="([^"]*)">Search the older events</a>', shown)
        if older is None:
            break
        page = EVENTS + html.unescape(older[1])
    assert "did not look" not in shown, "the search must end"
    assert found == 1


def test_a_transaction_that_is_larger_than_a_search_does_not_hold_it_up(
    client: Client, product: Product, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(log, "DEPTH", 2)
    Product.objects.bulk_create(Product(name="Tea", price=1) for _ in range(9))
    Product.objects.update(price=7)
    shown, page, seen = "", EVENTS + "?op=update", set()
    while page not in seen:
        seen.add(page)
        shown = client.get(page).content.decode()
        older = re.search(r'<a href="([^"]*)">Search the older events</a>', shown)
        page = EVENTS + html.unescape(older[1]) if older else page
    assert "did not look" not in shown, f"the search must end: {seen}"
