"""The page of one event, and the timeline of one object."""

import json
import re
from http import HTTPStatus

import pytest
from catalog.models import Offer, Product, TaskRun
from celery import current_app
from django.contrib import admin
from django.core.management import call_command
from django.test import Client, override_settings
from django.utils import timezone

from bridge.call import call_for, targets_of
from bridge.event import Event as LoggedEvent
from django_app import watch
from django_app.admin import timeline
from django_app.declarations import registry
from tests.django.admin_site import bury, change, deliver, event_page, execute, page, staff, superuser
from tests.fix_postgres import Database, on_pg18

pytestmark = on_pg18

CONTEXT = json.dumps({"user": "anna", "user_id": 7, "request_id": "a<b>c", "path": "/admin/catalog/product/1/change/"})


@pytest.fixture
def product(shop_database: Database, monkeypatch: pytest.MonkeyPatch) -> Product:
    """A product whose watch records the price, and which has one change."""
    monkeypatch.setattr(registry, "_in_code", [])
    watch(Product, task="catalog.tasks.reprice", on=["update"], columns=["price"], data=["price", "name"])
    call_command("migrate", verbosity=0)
    product = Product.objects.create(name="Tea <b>", price=1)
    change(product, "1.50", CONTEXT)
    return product


def fate_of(client: Client) -> str:
    return page(client, event_page()).split('class="bridge-fate')[1].split(">")[1].split("<")[0]


def test_an_event_is_shown_with_its_fate_task_context_and_links(product: Product) -> None:
    shown = page(superuser(), event_page())
    assert f'href="/admin/catalog/product/{product.pk}/change/"' in shown
    ((number, xid, at),) = execute("select id, xid::text, at from bridge.event")
    event = LoggedEvent(number, "catalog.product_reprice", "update", [product.pk], None, None, at)
    call = call_for(event, targets_of([("catalog.product_reprice", "catalog.tasks.reprice", "{}")], []))
    assert call.task_id in shown  # type: ignore[union-attr]
    assert f'href="/admin/bridge/event/?xid={xid}"' in shown
    assert f'href="/admin/bridge/event/of/catalog.product/{product.pk}/"' in shown
    assert "&quot;request_id&quot;: &quot;a&lt;b&gt;c&quot;" in shown
    assert "<td>1.00</td><td>1.50</td>" in shown
    assert "Celery has no result backend" in shown
    assert f"{at:%Y-%m-%d %H:%M:%S}" in shown


def test_the_fate_follows_what_happens_to_the_event(product: Product) -> None:
    client = superuser()
    assert fate_of(client) == "waits"
    deliver()
    assert fate_of(client) == "published"
    number = bury("because < of this")
    shown = page(client, event_page())
    assert "because &lt; of this" in shown
    assert f'href="/admin/bridge/deadletter/{number}/change/"' in shown
    assert fate_of(client) == "dead letter"
    execute("select bridge.retry(array[%s])", number)
    rows = execute("select xid::text from bridge.event where id = %s order by event.xid", number)
    assert len(rows) == 2
    fates = [page(client, event_page(f"where xid = '{xid}'::xid8")) for (xid,) in rows]
    assert ["retried" in fate for fate in fates] == [True, False]
    assert "waits" in fates[1]
    bury()
    execute("select bridge.discard(array[%s])", number)
    assert "discarded" in page(client, event_page("order by event.xid desc"))


def test_an_event_that_is_not_there_is_no_error(migrated: Database) -> None:
    client = superuser()
    for address in ("default-1-1", "default-x-1", "x", "1", "default-1-99999999999999999999", "a-1-1", "%00-1-1"):
        answer = client.get(f"/admin/bridge/event/{address}/change/")
        assert answer.status_code == HTTPStatus.FOUND, address  # as for every object that does not exist


def test_the_timeline_says_who_changed_what(product: Product) -> None:
    change(product, "2.50", "no JSON")
    other = Product.objects.create(name="Coffee", price=3)
    change(other, "4")
    shown = page(superuser(), f"event/of/catalog.product/{product.pk}/")
    assert shown.index("<td>1.50</td><td>2.50</td>") < shown.index("<td>1.00</td><td>1.50</td>"), "newest first"
    assert "<dd>anna</dd>" in shown
    assert "<dd>not known</dd>" in shown
    assert "Coffee" not in shown
    assert "Tea &lt;b&gt;" in shown


def test_the_timeline_of_a_deleted_object_is_still_there(product: Product) -> None:
    pk = product.pk
    product.delete()
    assert "<td>1.00</td><td>1.50</td>" in page(superuser(), f"event/of/catalog.product/{pk}/")


def test_the_timeline_follows_a_key_of_other_columns(product: Product) -> None:
    watch(Offer, task="catalog.tasks.touch", on=["update"], key=["product", "channel"])
    watch(TaskRun, task="catalog.tasks.touch", on=["update"], key=["started_at", "price_seen"])
    call_command("migrate", verbosity=0)
    offer = Offer.objects.create(product=product, channel='a"b')
    Offer.objects.update(stock=7)
    run = TaskRun.objects.create(task="any", product_id=1, price_seen="1.50", started_at=timezone.now())
    TaskRun.objects.update(task="other")
    client = superuser()
    for path in (f"catalog.offer/{offer.pk}", f"catalog.taskrun/{run.pk}"):
        assert "Update" in page(client, f"event/of/{path}/")


def test_a_long_timeline_is_shown_in_pages(product: Product, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(timeline, "_MOST", 2)
    for price in range(10, 14):
        change(product, str(price))
    client, address, found = superuser(), f"event/of/catalog.product/{product.pk}/", []
    for _ in range(10):
        shown = page(client, address)
        found += re.findall(r"<td>[\d.]+</td><td>([\d.]+)</td>", shown)
        older = re.search(r'<a href="([^"]*)">Show the older ones</a>', shown)
        if older is None:
            break
        address = f"event/of/catalog.product/{product.pk}/{older[1]}"
    # A transaction may be on two pages, since a page begins with a whole one.
    assert list(dict.fromkeys(found)) == ["13.00", "12.00", "11.00", "10.00", "1.50"]


def test_an_object_without_events_is_no_error(product: Product) -> None:
    client = superuser()
    assert "no changes of this object" in page(client, "event/of/catalog.product/4711/")
    assert "No watch records" in page(client, "event/of/catalog.offer/1/")
    for wrong in ("catalog.product/abc/", "catalog.nothing/1/", "x/1/", "catalog.product/1/?before=x"):
        assert client.get(f"/admin/bridge/event/of/{wrong}").status_code == HTTPStatus.NOT_FOUND, wrong


def test_the_page_of_a_watched_object_links_to_its_changes(product: Product) -> None:
    shown = page(superuser(), f"/admin/catalog/product/{product.pk}/change/")
    assert f'<li><a href="/admin/bridge/event/of/catalog.product/{product.pk}/">Changes</a></li>' in shown
    assert 'class="historylink"' in shown
    assert 'name="_save"' in shown


def test_other_pages_and_other_users_have_no_such_link(product: Product) -> None:
    assert ">Changes</a>" not in page(superuser(), "/admin/catalog/product/add/")
    anna = staff("catalog.change_product")
    assert ">Changes</a>" not in page(anna, f"/admin/catalog/product/{product.pk}/change/")
    assert anna.get(f"/admin/bridge/event/of/catalog.product/{product.pk}/").status_code == HTTPStatus.FORBIDDEN
    assert anna.get("/admin/bridge/event/").status_code == HTTPStatus.FORBIDDEN


def test_no_link_leads_to_a_page_that_this_user_may_not_see(product: Product) -> None:
    shown = page(staff("bridge.view_event"), event_page())
    assert 'href="/admin/catalog/' not in shown


def test_a_template_of_the_project_keeps_its_content(product: Product, monkeypatch: pytest.MonkeyPatch) -> None:
    mine = "{% extends 'admin/change_form.html' %}{% block form_top %}MINE{% endblock %}"
    templates = [
        {
            "BACKEND": "django.template.backends.django.DjangoTemplates",
            "OPTIONS": {
                "context_processors": [
                    "django.template.context_processors.request",
                    "django.contrib.auth.context_processors.auth",
                    "django.contrib.messages.context_processors.messages",
                ],
                "loaders": [
                    ("django.template.loaders.locmem.Loader", {"mine.html": mine}),
                    "django.template.loaders.app_directories.Loader",
                ],
            },
        }
    ]
    monkeypatch.setattr(admin.site.get_model_admin(Product), "change_form_template", "mine.html", raising=False)
    with override_settings(TEMPLATES=templates):
        shown = page(superuser(), f"/admin/catalog/product/{product.pk}/change/")
    assert "MINE" in shown
    assert ">Changes</a>" in shown


@pytest.fixture
def backend(monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """Replaces the result backend by a dict of states."""
    states: dict[str, str] = {}

    class Backend:
        def get_task_meta(self, task_id: str) -> dict[str, str | None]:
            if "broken" in states:
                raise ConnectionError("the backend is down")
            return {"status": states.get(task_id, states.get("*", "PENDING")), "date_done": states.get("done")}

    monkeypatch.setattr(current_app.conf, "result_backend", "cache+memory://")
    monkeypatch.setattr(type(current_app._get_current_object()), "backend", Backend())  # type: ignore[attr-defined]
    return states


def test_the_state_of_a_task_is_shown_where_a_backend_has_it(product: Product, backend: dict[str, str]) -> None:
    client = superuser()
    address = f"event/of/catalog.product/{product.pk}/"
    assert "<dt>State of the task</dt><dd>not known</dd>" in page(client, address)
    backend["*"] = "FAILURE"
    assert "<dt>State of the task</dt><dd>FAILURE</dd>" in page(client, address)
    assert "FAILURE" in page(client, event_page())
    backend["done"] = "2026-11-26T20:00:01.123+00:00"
    assert "FAILURE 2026-11-26 20:00:01" in page(client, event_page())
    backend["broken"] = ""
    assert "<dt>State of the task</dt><dd>not known</dd>" in page(client, address)


def test_an_event_with_values_that_python_cant_read_is_shown(product: Product) -> None:
    statement = (
        "insert into bridge.ring (stream, watch, op, key, data, context, at) "
        "values ('default', 'catalog.product_reprice', 'update', '[1e5000]', jsonb_build_object('old', "
        "jsonb_build_object('price', 1e131071::numeric)), %s, 'infinity')"
    )
    client = superuser()
    for number, context in enumerate(("[" * 3000, "[" * 500 + "]" * 500, '{"user": ' * 300 + "1" + "}" * 300, ""), 2):
        execute(statement, context)
        assert f"{number} events" in page(client, "event/")
        assert "catalog.product_reprice" in page(client, event_page())
    page(client, f"event/of/catalog.product/{product.pk}/")


def test_a_sent_task_is_shown(product: Product) -> None:
    execute("select bridge.allow('shop.mail')")
    execute("select bridge.send('shop.mail', '[1]')")
    client = superuser()
    assert "shop.mail" in page(client, "event/?op=send")
    assert "shop.mail" in page(client, event_page())


def test_the_way_to_a_page_has_the_markup_of_this_django(product: Product) -> None:
    """Our own pages and Django's have the same way to them, or the style sheet would not fit."""
    client = superuser()
    tag = re.search(r'<(\w+) class="breadcrumbs">', page(client, "event/"))
    ours = re.search(
        r'<(\w+) class="breadcrumbs">(.*?)</\1>', page(client, f"event/of/catalog.product/{product.pk}/"), re.DOTALL
    )
    assert tag
    assert ours
    assert ours[1] == tag[1]
    assert f'<a href="/admin/catalog/product/{product.pk}/change/">Tea &lt;b&gt;</a>' in ours[2]
