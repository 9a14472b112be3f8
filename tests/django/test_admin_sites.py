"""Admin sites that have only some of the bridge's pages: a link to a missing page is plain text."""

from collections.abc import Iterator
from http import HTTPStatus

import pytest
from catalog.models import Product
from django.contrib.admin import AdminSite
from django.contrib.admin import site as default_site
from django.test import override_settings
from django.urls import path

from django_app.models import DeadLetter, Event, Stream, Watch
from tests.django.admin_site import bury, change, event_page, superuser
from tests.fix_postgres import Database, on_pg18

pytestmark = on_pg18

urlpatterns = [path("admin/", default_site.urls)]
for model in (DeadLetter, Event, Stream, Watch):
    site = AdminSite(name=f"only_{model._meta.model_name}")
    site.register(model, type(default_site._registry[model]))
    urlpatterns.append(path(f"{site.name}/", site.urls))


@pytest.fixture(autouse=True)
def sites(migrated: Database) -> Iterator[None]:
    with override_settings(ROOT_URLCONF=__name__):
        yield


def test_each_page_of_a_site_with_one_model_is_shown() -> None:
    change(Product.objects.create(name="Tea", price=1), "2")
    number = bury()
    client = superuser()
    key = event_page().removeprefix("event/")
    pages = ["event/", f"event/{key}", "stream/", "watch/", "watch/catalog.product_reprice/change/"]
    pages += ["deadletter/", f"deadletter/{number}/change/", f"deadletter/{number}/retry/"]
    for each in pages:
        kind = each.partition("/")[0]
        answer = client.get(f"/only_{kind}/bridge/{each}")
        assert answer.status_code == HTTPStatus.OK, each
        assert 'href=""' not in answer.content.decode(), each
