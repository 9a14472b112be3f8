"""Addresses and forms that no page makes: a wrong one is refused, and none is an error of the server."""

import re
from http import HTTPStatus
from typing import Any

import pytest
from catalog.models import Product
from django.contrib.admin import site
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import Permission, User
from django.test import Client, override_settings

from django_app.admin import decision
from tests.django.admin_site import BASE, bury, change, event_page, execute, page, staff, superuser
from tests.fix_postgres import Database, on_pg18

pytestmark = on_pg18

LIST = f"{BASE}deadletter/"


@pytest.fixture
def letter(migrated: Database) -> int:
    change(Product.objects.create(name="Tea", price=1), "2", r'{"user": "\ud800", "path": ["\uDC00", {"\ud800": 1}]}')
    return bury()


@pytest.fixture
def client(letter: int) -> Client:
    return superuser()


def letters() -> list[int]:
    return [number for (number,) in execute("select id from bridge.dead_letter order by id")]


@pytest.mark.parametrize("kind", ["deadletter", "event", "watch", "stream"])
def test_a_wrong_key_is_refused(client: Client, kind: str) -> None:
    for key in ("--5", "-", "%00", "9" * 5000, "%FF", "_00", "a%00b", "1-1-1", "default-1-99999999999999999999"):
        for view in ("change", "history", "delete", "retry", "discard", "edit"):
            for send in (client.get, client.post):
                answer = send(f"{BASE}{kind}/{key}/{view}/", {"confirmed": "yes"} if send == client.post else None)
                assert answer.status_code in (302, 403, 404), (key, view)


@pytest.mark.parametrize(
    "query",
    [
        "watch__regex=(",
        "reason__startswith=a",
        "data__old__price=1",
        "op=%00",
        "stream=%00",
        "name__regex=(",
        "key=[1]",
    ],
)
def test_a_list_takes_no_lookup_of_a_field(client: Client, query: str) -> None:
    """A lookup could also reveal values that the page does not show."""
    for kind in ("deadletter", "event", "watch", "stream"):
        answer = client.get(f"{BASE}{kind}/?{query}")
        assert answer.status_code in (302, 400), kind


@pytest.mark.parametrize(
    "forged",
    [
        {"_selected_action": ["x"]},
        {"_selected_action": ["9" * 5000]},
        {"_selected_action": ["\0"]},
        {"until": "2026-99-99T00:00"},
        {"until": "2026-01-01T00:00"},
        {"until": "never"},
    ],
)
def test_a_forged_form_is_refused(client: Client, letter: int, forged: dict[str, Any]) -> None:
    form = {"action": "discard", "_selected_action": [str(letter)], "confirmed": "yes", **forged}
    assert client.post(LIST, form).status_code == HTTPStatus.BAD_REQUEST
    assert letters() == [letter]


def test_half_of_a_character_in_a_context_is_shown_as_an_escape(client: Client, letter: int) -> None:
    for address in ("event/", event_page(), "event/of/catalog.product/1/", f"deadletter/{letter}/change/"):
        page(client, address)
    assert r"\ud800" in page(client, "event/")


def test_times_at_the_ends_of_the_range_are_refused_or_found(client: Client) -> None:
    for use_tz in (True, False):
        with override_settings(USE_TZ=use_tz):
            for time in ("0001-01-01T00:00:00%2B14:00", "9999-12-31T23:59:59-14:00", "0001-01-01T00:00"):
                assert client.get(f"{BASE}event/?since={time}", follow=True).status_code == HTTPStatus.OK


def test_only_the_permission_to_view_lets_a_user_see_pages(letter: int) -> None:
    kinds = ("event", "watch", "stream", "deadletter")
    anna = staff(*(f"bridge.{verb}_{kind}" for verb in ("add", "change", "delete") for kind in kinds))
    for address in (*(f"{kind}/" for kind in kinds), f"deadletter/{letter}/change/", "event/of/catalog.product/1/"):
        assert anna.get(BASE + address).status_code == HTTPStatus.FORBIDDEN, address


def test_a_decision_that_the_database_refuses_is_explained(client: Client, letter: int) -> None:
    execute("update bridge.position set cluster = '1'")  # restored from elsewhere
    asked = page(client, f"{LIST}{letter}/retry/")
    answer = client.post(f"{LIST}{letter}/retry/", {"confirmed": "yes"}, follow=True).content.decode()
    assert "will be put back" in asked
    assert "Nothing was done: stream &quot;default&quot; was restored from elsewhere" in answer
    assert letters() == [letter]
    assert not LogEntry.objects.exists()


def test_a_second_click_says_that_it_did_nothing(client: Client, letter: int) -> None:
    for kind in ("discard", "retry", "edit"):
        answer = client.post(f"{LIST}{letter}/{kind}/", {"confirmed": "yes"}, follow=True).content.decode()
        assert ("1 dead letter discarded" if kind == "discard" else "are gone: nothing was done") in answer


def test_the_history_names_only_what_this_person_has_decided(
    client: Client, letter: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    execute(
        "insert into bridge.dead_letter (id, stream, watch, op, at, reason) "
        "select n, 'default', 'x', 'update', now(), 'why' from generate_series(100, 103) n"
    )
    settle = decision._settle

    def later(cursor: Any, kind: Any, chunk: Any) -> Any:
        execute("select bridge.discard(array[101, 103])")  # another person, after this one has confirmed
        return settle(cursor, kind, chunk)

    monkeypatch.setattr(decision, "_settle", later)
    form = {"action": "discard", "_selected_action": ["100", "101", "102", "103"], "confirmed": "yes"}
    answer = client.post(LIST, form, follow=True).content.decode()
    assert "2 dead letters discarded" in answer
    assert set(LogEntry.objects.values_list("object_id", flat=True)) == {"100", "102"}
    assert letters() == [letter]


def test_a_value_of_the_log_is_never_markup(migrated: Database) -> None:
    script = "<script>alert(1)</script>"
    change(Product.objects.create(name=script, price=1), "2", f'{{"user": "{script}", "{script}": "{script}"}}')
    letter = bury(script)
    execute("update bridge.dead_letter set data = jsonb_build_object('old', jsonb_build_object(%s::text, 1))", script)
    client = superuser()
    pages = (
        "event/", event_page(), "event/of/catalog.product/1/", "deadletter/", f"deadletter/{letter}/change/",
        f"deadletter/{letter}/retry/", f"deadletter/{letter}/edit/", f"event/?user={script}&since={script}&e=1",
        f"event/?user={script}", f"deadletter/?reason={script}",
    )  # fmt: skip
    for address in pages:
        assert not re.search("<script>alert", page(client, address)), address


def test_a_timeline_shows_only_objects_that_the_user_may_see(letter: int, monkeypatch: pytest.MonkeyPatch) -> None:
    own, other = Product.objects.create(name="Mine", price=1), Product.objects.create(name="Secret", price=1)
    user = User.objects.create_user("Secret name")
    address = "event/of/catalog.product/{}/"
    anna = staff("bridge.view_event")
    for refused in (address.format(own.pk), f"event/of/auth.user/{user.pk}/", "event/of/catalog.offer/1/"):
        answer = anna.get(BASE + refused)
        assert answer.status_code == HTTPStatus.FORBIDDEN, refused
        assert "Secret" not in answer.content.decode()
    User.objects.get(username="anna").user_permissions.add(Permission.objects.get(codename="view_product"))
    assert "Secret" in page(anna, address.format(other.pk))
    admin_of = site.get_model_admin(Product)
    rows = Product.objects.filter(pk=own.pk)
    monkeypatch.setattr(admin_of, "get_queryset", lambda _: rows)
    page(anna, address.format(own.pk))
    page(anna, address.format(4711))
    assert anna.get(BASE + address.format(other.pk)).status_code == HTTPStatus.FORBIDDEN
    monkeypatch.setattr(admin_of, "has_view_permission", lambda _, obj=None: obj is None)
    assert anna.get(BASE + address.format(own.pk)).status_code == HTTPStatus.FORBIDDEN
    # A manager that hides the object from everybody gives nobody a right to see its changes.
    monkeypatch.setattr(Product._default_manager, "get_queryset", rows.none)
    assert anna.get(BASE + address.format(own.pk)).status_code == HTTPStatus.FORBIDDEN


def test_a_timeline_of_a_wrong_key_is_not_found(client: Client) -> None:
    models = ("catalog.product", "catalog.offer", "auth.user", "sessions.session", "bridge.watch", "bridge.event")
    for model in models:
        for key in ("abc", "%00", "9" * 5000, "NaN", "%FF", "--1", "1_2F2", "1.0"):
            answer = client.get(f"{BASE}event/of/{model}/{key}/")
            assert answer.status_code == HTTPStatus.NOT_FOUND or model in ("sessions.session", "bridge.watch"), key
            assert answer.status_code < HTTPStatus.INTERNAL_SERVER_ERROR, key
