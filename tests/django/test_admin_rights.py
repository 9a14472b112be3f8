"""The roles of docs/howto/roles.sql: a page that the database refuses names the GRANT that mends it."""

import html
import re
from http import HTTPStatus

import pytest
from catalog.models import Product
from django.db import connection, connections
from django.test import Client, override_settings
from psycopg import sql

from tests.django.admin_site import bury, change, event_page, execute, staff, superuser
from tests.fix_bridge import ROOT
from tests.fix_postgres import Database, on_pg18

pytestmark = on_pg18

GUIDE = ROOT / "docs" / "howto" / "admin.md"


@pytest.fixture
def pages(migrated: Database) -> list[str]:
    """Two changes, a dead letter, and the addresses of all pages."""
    product = Product.objects.create(name="Tea", price=1)
    change(product, "2")
    letter = bury()
    pages = [
        "event/", event_page(), "event/?user=anna", f"event/of/catalog.product/{product.pk}/", "stream/", "watch/",
        "watch/catalog.product_5Freprice/change/", "deadletter/", f"deadletter/{letter}/change/",
        f"deadletter/{letter}/retry/", f"deadletter/{letter}/edit/", f"deadletter/{letter}/discard/",
    ]  # fmt: skip
    return [f"/admin/bridge/{page}" for page in pages]


@pytest.fixture
def application(migrated: Database, roles: dict[str, str]) -> str:
    """The role of the web processes. Its name needs quotes."""
    name = roles["application"]
    with migrated.connect() as owner:
        owner.execute(sql.SQL("grant all on all tables in schema public to {}").format(sql.Identifier(name)))
        owner.execute(sql.SQL("grant all on all sequences in schema public to {}").format(sql.Identifier(name)))
    return name


@pytest.fixture
def client(application: str, pages: list[str], monkeypatch: pytest.MonkeyPatch) -> Client:
    """A superuser of the site, whose web process connects as that role."""
    client = superuser()
    escaped = application.replace(" ", "\\ ")
    options = {**connection.settings_dict["OPTIONS"], "options": f"-c role={escaped}"}
    monkeypatch.setitem(connection.settings_dict, "OPTIONS", options)
    connection.close()
    return client


def grants(answer: str) -> list[str]:
    return re.findall(r"grant .*?;", html.unescape(answer))


def test_each_page_names_the_grants_that_mend_it(client: Client, pages: list[str], migrated: Database) -> None:
    for page in pages:
        answer = client.get(page)
        assert answer.status_code == HTTPStatus.FORBIDDEN, page
        needed = grants(answer.content.decode())
        assert needed, page
        with migrated.connect() as owner:
            for grant in needed:
                owner.execute(grant.encode())
        assert client.get(page).status_code == HTTPStatus.OK, page
        with migrated.connect() as owner:
            for grant in needed:
                if "usage" not in grant:
                    owner.execute(grant.replace("grant", "revoke", 1).replace(" to ", " from ").encode())


def test_the_grants_of_the_guide_are_all_that_the_pages_need(
    client: Client, pages: list[str], migrated: Database, application: str
) -> None:
    quoted = f'"{application}"'
    with migrated.connect() as owner:
        for grant in re.findall(r"^grant [^;]*;", GUIDE.read_text(encoding="utf-8"), re.MULTILINE):
            owner.execute(grant.replace("shop_web", quoted).encode())
    assert {page: client.get(page).status_code for page in pages} == dict.fromkeys(pages, HTTPStatus.OK)


def test_the_role_got_no_other_right(client: Client, pages: list[str], migrated: Database, application: str) -> None:
    test_the_grants_of_the_guide_are_all_that_the_pages_need(client, pages, migrated, application)
    for statement in (
        "insert into bridge.dead_letter select * from bridge.dead_letter",
        "update bridge.watch set task = 'os.system'",
        "insert into bridge.sendable values ('os.system')",
        "select bridge.send('os.system')",
        "update bridge.position set seen = '1:1:'",
    ):
        with connection.cursor() as cursor, pytest.raises(Exception, match=r"permission denied|may not be sent"):
            cursor.execute(statement)


def test_a_user_without_permission_learns_nothing(client: Client, pages: list[str], application: str) -> None:
    anna = staff()
    for page in pages:
        answer = anna.get(page)
        assert answer.status_code == HTTPStatus.FORBIDDEN, page
        assert application not in answer.content.decode(), page


def test_pages_without_the_schema_say_what_installs_it(client: Client, pages: list[str], migrated: Database) -> None:
    with migrated.connect() as owner:
        owner.execute("drop schema bridge cascade")
    for page in pages:
        answer = client.get(page)
        assert answer.status_code == HTTPStatus.FORBIDDEN, page
        assert "python manage.py migrate" in answer.content.decode(), page


def test_an_older_schema_is_pointed_out(migrated: Database) -> None:
    execute("drop function bridge.fate(text, text, bigint, timestamptz, xid8)")
    answer = superuser().get("/admin/bridge/event/")
    assert answer.status_code == HTTPStatus.FORBIDDEN
    assert "does not have function bridge.fate, or it has an older version of it" in answer.content.decode()


def test_another_kind_of_database_is_pointed_out(migrated: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = {**connections.settings["default"], "ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}
    monkeypatch.setitem(connections.settings, "lite", {**settings, "OPTIONS": {}})
    with override_settings(BRIDGE_DATABASE="lite"):
        shown = superuser().get("/admin/bridge/event/").content.decode()
    assert "Commit Bridge needs PostgreSQL" in shown
    assert "BRIDGE_DATABASE" in shown
