"""The admin's pages in another language, with separators in numbers, and with other time zones."""

import re
from collections.abc import Iterator
from datetime import datetime, timedelta
from urllib.parse import urlencode
from zoneinfo import ZoneInfo

import pytest
from catalog.models import Product
from django.conf import settings
from django.test import Client, override_settings

from tests.django.admin_site import BASE, bury, change, execute, page, superuser
from tests.fix_postgres import Database, on_pg18

pytestmark = on_pg18

NUMBER = 1_234_567


@pytest.fixture(
    params=[
        {"LANGUAGE_CODE": "de", "USE_THOUSAND_SEPARATOR": True},
        {"LANGUAGE_CODE": "ar"},
        {"LANGUAGE_CODE": "fr", "USE_TZ": False, "TIME_ZONE": "Asia/Kathmandu", "USE_THOUSAND_SEPARATOR": True},
        {"TIME_ZONE": "America/St_Johns"},
    ],
    ids=lambda settings: " ".join(map(str, settings.values())),
)
def client(migrated: Database, request: pytest.FixtureRequest) -> Iterator[Client]:
    """A person in such a project, with a change and a dead letter whose ids are large."""
    with override_settings(**request.param):
        execute("select setval(pg_get_serial_sequence('catalog_product', 'id'), %s)", NUMBER)
        execute("select setval('bridge.event_id', %s)", NUMBER)
        product = Product.objects.create(name="Tea", price=1)
        change(product, "2")
        bury()
        yield superuser()


def test_every_link_of_every_page_leads_to_a_page(client: Client) -> None:
    todo, seen = [BASE, "/admin/catalog/product/1234568/change/"], set[str]()
    while todo:
        address = todo.pop()
        seen.add(address)
        content = page(client, address).partition('id="content"')[2]
        assert not re.search(r"(href|value|action)=\"[^\"]*1[.,\s\xa0\u202f]234", content), address
        for href in re.findall(r'href="(/admin/bridge/[^"]*|\?[^"]*)"', content):
            target = (address.partition("?")[0] + href if href.startswith("?") else href).replace("&amp;", "&")
            if target not in seen and len(seen) < 60:
                todo.append(target)
    assert any("/of/catalog.product/1234568/" in address for address in seen)
    assert any("/deadletter/1234" in address for address in seen)


@pytest.mark.parametrize(("minutes", "found"), [(-1, 1), (1, 0)])
def test_a_time_means_the_project_s_time_zone(client: Client, minutes: int, found: int) -> None:
    since = datetime.now(ZoneInfo(settings.TIME_ZONE)).replace(tzinfo=None) + timedelta(minutes=minutes)
    answer = client.get(f"{BASE}event/?{urlencode({'since': since.isoformat(timespec='minutes')})}")
    assert (answer.context_data or {})["cl"].result_count == found


def test_times_are_shown_with_seconds_in_the_project_s_time_zone(client: Client) -> None:
    ((stored,),) = execute(
        "select to_char(max(at) at time zone %s, 'HH24:MI:SS') from bridge.event", settings.TIME_ZONE
    )
    assert stored in page(client, "event/")
