"""The middleware: events have the request and its user, and no request pays a query for that which writes nothing."""

import json
from collections.abc import Callable, Iterator
from typing import Any
from uuid import UUID

import pytest
from asgiref.sync import async_to_sync, iscoroutinefunction
from catalog.models import Product
from django.contrib.auth.models import AnonymousUser, User
from django.contrib.sessions.backends.signed_cookies import SessionStore
from django.db import connection, transaction
from django.http import HttpRequest, HttpResponse
from django.test import AsyncClient, AsyncRequestFactory, Client, RequestFactory, override_settings
from django.urls import path
from django.utils.functional import SimpleLazyObject

import bridge
from bridge import scope
from django_app.middleware import ContextMiddleware
from django_app.request import RequestValues
from tests.django.wire import sent
from tests.fix_postgres import Database, on_pg18

PARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


def contexts() -> list[Any]:
    with connection.cursor() as cursor:
        cursor.execute("select context from bridge.event where watch = 'all' order by id")
        return [None if text is None else json.loads(text) for (text,) in cursor.fetchall()]


def watch() -> None:
    with connection.cursor() as cursor:
        cursor.execute("select bridge.watch('all', 'catalog_product', 't', operations => '{insert}')")


def values(request: HttpRequest) -> dict[str, Any]:
    return RequestValues(request)()


def lazy(user: Any, request: HttpRequest) -> Any:
    """Sets `request.user` as AuthenticationMiddleware does."""

    def load() -> Any:
        request._cached_user = user  # type: ignore[attr-defined]
        return user

    return SimpleLazyObject(load)


def get(**headers: str) -> HttpRequest:
    request = RequestFactory().get("/admin/?secret=1", headers=headers)
    request.user = AnonymousUser()
    return request


def test_a_request_has_its_id_path_and_trace() -> None:
    request = get(**{"x-request-id": "r1", "traceparent": PARENT, "tracestate": "a=1"})
    assert values(request) == {
        "request": "r1",
        "method": "GET",
        "path": "/admin/",
        "traceparent": PARENT,
        "tracestate": "a=1",
    }


def test_a_request_without_an_id_gets_one_and_keeps_it() -> None:
    source = RequestValues(get())
    assert len(source()["request"]) == 32
    assert source() == source()


@pytest.mark.parametrize(
    "parent",
    [
        "",
        "x",
        PARENT.upper(),
        PARENT.replace("00-0", "ff-0"),
        f"00-{'0' * 32}-{'1' * 16}-01",
        PARENT + "\n",
        PARENT * 9,
    ],
)
def test_a_header_of_another_form_is_no_trace(parent: str) -> None:
    request = get()
    request.META |= {"HTTP_TRACEPARENT": parent, "HTTP_TRACESTATE": "a=1"}
    assert values(request).keys() == {"request", "method", "path"}


def test_forged_values_can_not_fail_the_write() -> None:
    request = get(**{"x-request-id": "\0" + "i" * 300})
    request.path = "/\0\ud800" + "ä" * 9000
    with scope.Scope(RequestValues(request)):
        found = json.loads(scope.as_setting())
    assert found["request"] == "i" * 199
    assert found["path"] == "/?" + "ä" * 497


def test_the_user_is_known_as_far_as_it_was_loaded() -> None:
    user = User(pk=7)
    request = get()
    assert "user" not in values(request)
    request.user = user
    assert values(request)["user"] == 7
    request.user = lazy(user, request)
    assert "user" not in values(request), "nobody has asked who it is"
    assert request.user.pk == 7
    assert values(request)["user"] == 7


def test_a_user_who_is_not_loaded_comes_from_the_session_if_that_is() -> None:
    request = get()
    request.user = lazy(User(pk=7), request)
    request.session = SessionStore()
    assert "user" not in values(request)
    assert not request.session.accessed, "the answer must not depend on the cookie because of us"
    request.session["_auth_user_id"] = "7"
    request.session.accessed = False
    assert values(request)["user"] == 7
    assert not request.session.accessed
    request.session["_auth_user_id"] = "not a number"
    assert values(request)["user"] == "not a number"


def test_a_key_of_any_type_is_json() -> None:
    request = get()
    key = UUID("6a1f2f0e-6d0b-4c39-9d53-0c7c5e1b7f5a")
    request.user = type("Someone", (), {"pk": key})()
    assert values(request)["user"] == str(key)


def view(request: HttpRequest) -> HttpResponse:
    if "write" in request.GET:
        with transaction.atomic():
            Product.objects.create(name="Tea", price=1)
            Product.objects.create(name="Tea", price=1)
    return HttpResponse(str(Product.objects.count()))


async def async_view(request: HttpRequest) -> HttpResponse:
    with bridge.context(reason="async"):
        await Product.objects.acreate(name="Tea", price=1)
    return HttpResponse("done")


def login_view(request: HttpRequest) -> HttpResponse:
    Product.objects.create(name="before", price=1)
    assert request.user.is_authenticated
    Product.objects.create(name="after", price=1)
    return HttpResponse("done")


urlpatterns = [path("", view), path("async/", async_view), path("login/", login_view)]
WITH_CONTEXT = override_settings(
    ROOT_URLCONF=__name__,
    MIDDLEWARE=[
        "django.contrib.sessions.middleware.SessionMiddleware",
        "django.contrib.auth.middleware.AuthenticationMiddleware",
        "django_app.middleware.ContextMiddleware",
    ],
)


@pytest.fixture
def site(shelf: Database) -> Iterator[None]:
    watch()
    with WITH_CONTEXT:
        yield


@pytest.mark.usefixtures("site")
def test_a_request_that_reads_costs_nothing_and_one_that_writes_costs_one_statement() -> None:
    with sent() as statements:
        Client().get("/")
    assert statements == ["SELECT"]
    with sent() as statements:
        Client().get("/?write=1")
    assert statements == ["BEGIN", "set context", "INSERT", "INSERT", "COMMIT", "SELECT"]
    first, second = contexts()
    assert first == second
    assert first.keys() == {"request", "method", "path"}
    Product.objects.create(name="later", price=1)
    assert contexts()[-1] is None, "the context ends with the request"


@pytest.mark.usefixtures("site")
def test_two_requests_in_one_transaction_have_their_own_contexts() -> None:
    """A TestCase has such a transaction, which lasts for the whole test."""
    with transaction.atomic():
        for number in range(2):
            Client().get("/?write=1", headers={"x-request-id": f"r{number}"})
        Product.objects.create(name="later", price=1)
    assert [one and one["request"] for one in contexts()] == ["r0", "r0", "r1", "r1", None]


@pytest.mark.usefixtures("site")
def test_async_requests() -> None:
    assert async_to_sync(AsyncClient().get)("/async/").status_code == 200
    [found] = contexts()
    assert (found["reason"], found["path"]) == ("async", "/async/")


def test_the_middleware_is_what_the_next_one_is() -> None:
    async def answer(_: HttpRequest) -> HttpResponse:
        return HttpResponse(json.dumps(scope.current()["path"]))

    middleware: Callable[[HttpRequest], Any] = ContextMiddleware(answer)
    assert iscoroutinefunction(middleware)
    response = async_to_sync(middleware)(AsyncRequestFactory().get("/a/"))
    assert response.content == b'"/a/"'
    assert not iscoroutinefunction(ContextMiddleware(lambda _: HttpResponse()))
    assert scope.opened() == ()


def test_a_view_that_fails_leaves_no_context() -> None:
    def answer(_: HttpRequest) -> HttpResponse:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        ContextMiddleware(answer)(get())
    assert scope.opened() == ()


@on_pg18
def test_the_user_of_a_real_login(migrated: Database) -> None:
    watch()
    user = User.objects.create_user("ann", password="secret")
    with WITH_CONTEXT:
        client = Client()
        client.force_login(user)
        assert client.get("/login/").status_code == 200
    assert [one.get("user") for one in contexts()] == [None, user.pk]
