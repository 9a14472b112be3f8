"""The admin in a real browser: a person edits a product, follows its event and task, and retries a dead letter.

`--renew-images` writes the pictures of docs/howto/admin.md.
"""

from collections.abc import Iterator
from pathlib import Path

import pytest
from catalog.models import Product
from django.contrib.auth.models import User
from django.core.management import call_command
from django.test import override_settings
from shop import settings

from django_app import watch
from django_app.declarations import registry
from tests.django.admin_site import bury, execute
from tests.django.browser import Admin, chromium, serving
from tests.eventually import eventually
from tests.fix_bridge import ROOT, Bridges
from tests.fix_images import IMAGES
from tests.fix_postgres import Database, on_pg18

PICTURES = ("timeline", "timeline-phone", "events", "events-phone", "dead-letter", "dead-letter-phone")


@pytest.fixture
def admin(
    shop_database: Database, monkeypatch: pytest.MonkeyPatch, images: Path, request: pytest.FixtureRequest
) -> Iterator[Admin]:
    monkeypatch.setattr(registry, "_in_code", [])
    # Playwright runs an event loop in this thread, in which Django would refuse the statements of the test.
    monkeypatch.setenv("DJANGO_ALLOW_ASYNC_UNSAFE", "true")
    watch(Product, task="catalog.tasks.reprice", on=["update"], columns=["price"], data=["price"])
    call_command("migrate", verbosity=0)
    User.objects.create_superuser("anna", password="tea and biscuits")
    middleware = [*settings.MIDDLEWARE, "django_app.middleware.ContextMiddleware"]
    with override_settings(MIDDLEWARE=middleware), serving() as address, chromium() as browser:
        yield Admin(browser, address, images / "admin", request.param)


# A check takes half a second. So every page is checked once, and scripts/soak checks it in all looks.
ONE_EACH = [[("desktop", "light")], [("phone", "dark")]]
ALL = [[(size, theme) for size in ("desktop", "phone") for theme in ("dark", "light")]]


@pytest.mark.parametrize(
    "admin",
    [pytest.param(ONE_EACH, id="one-look"), pytest.param(ALL, id="all-looks", marks=pytest.mark.soak)],
    indirect=True,
)
@on_pg18
def test_a_person_follows_a_change_and_retries_a_dead_letter(
    admin: Admin, run_bridge: Bridges, shop_database: Database, valkey_url: str
) -> None:
    product = Product.objects.create(name="Earl Grey", price=4)
    page = admin.page
    admin.log_in("anna", "tea and biscuits")

    admin.open(f"/admin/catalog/product/{product.pk}/change/")
    for price in ("4.50", "4.80"):
        page.fill("#id_price", price)
        admin.follow(page.locator("input[name=_continue]"))
    bridge = run_bridge(shop_database.dsn, broker_url=valkey_url)
    assert eventually(lambda: execute("select count(*) from bridge.waiting") == [(0,)])
    bridge.stop()

    link = page.get_by_role("link", name="Changes", exact=True)
    link.focus()
    page.keyboard.press("Enter")
    page.wait_for_url("**/event/of/catalog.product/*/")
    said = page.inner_text(".bridge-changes")
    for part in ("anna", "4.00", "4.50", "4.80", "catalog.tasks.reprice", "published"):
        assert part in said, f"{part} is not in: {said}"
    admin.check("timeline")

    page.get_by_role("link", name="Update").first.click()
    page.wait_for_url("**/bridge/event/default-*/change/")
    task_id = page.inner_text(".field-task code")
    assert len(task_id) == 36
    assert f"/admin/catalog/product/{product.pk}/change/" in page.inner_text(".field-context_told")
    admin.check()

    admin.open("/admin/bridge/event/?user=anna&op=update")
    assert page.locator(".field-fate").all_inner_texts() == ["published", "published"]
    admin.check("events")

    bury('the queue "offers" does not exist')
    admin.open("/admin/bridge/deadletter/")
    admin.check()
    admin.follow(page.locator(".field-id a"))
    admin.check("dead-letter")
    admin.follow(page.get_by_role("link", name="Edit arguments and retry"))
    admin.check()
    page.go_back()
    admin.follow(page.get_by_role("link", name="Retry", exact=True))
    admin.check()
    admin.follow(page.get_by_role("button", name="Yes, retry"))
    assert "1 dead letter will be published again." in page.inner_text(".messagelist")
    assert execute("select count(*) from bridge.waiting") == [(1,)]

    for path in (
        "/admin/bridge/stream/",
        "/admin/bridge/watch/",
        "/admin/bridge/watch/catalog.product_5Freprice/change/",
    ):
        admin.open(path)
        admin.check()
    assert admin.faults == [], "\n".join(admin.faults)


def test_the_guide_has_all_pictures() -> None:
    guide = (ROOT / "docs" / "howto" / "admin.md").read_text(encoding="utf-8")
    for name in PICTURES:
        assert (IMAGES / "admin" / f"{name}.png").exists(), f"run pytest with --renew-images: {name}.png"
    assert "../images/admin/timeline.png" in guide
