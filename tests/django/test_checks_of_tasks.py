"""System checks of what a watch does with its task: where it goes, its arguments, and its times."""

from collections.abc import Iterator
from functools import wraps
from typing import Any

import pytest
from catalog.models import Offer, Product
from catalog.tasks import reprice
from celery import Celery
from django.conf import settings
from django.core.checks import run_checks

from django_app import checks, project, watch
from django_app.declarations import registry

pytestmark = pytest.mark.usefixtures("undeclared")


def test_bridge_W006(monkeypatch: pytest.MonkeyPatch) -> None:  # noqa: N802
    """The package is recognised by the module of its class."""
    outbox = type("OutboxCelery", (Celery,), {"__module__": "django_celery_outbox.app"})
    app = outbox("outbox", set_as_current=False)  # it has all shared tasks
    monkeypatch.setattr(checks, "load_app", lambda: app)
    watch(Product, task=reprice)
    watch(Product, task=reprice, name="shadow", shadow=True)
    [message] = run_checks()
    assert (message.id, message.hint) == (
        "bridge.W006",
        "Add 'catalog.tasks.reprice' to the setting CELERY_OUTBOX_EXCLUDE_TASKS.",
    )
    monkeypatch.setattr(settings, "CELERY_OUTBOX_EXCLUDE_TASKS", {"catalog.tasks.reprice"}, raising=False)
    assert run_checks() == []


def two(product_id: int, force: bool) -> None: ...


def keyword(product_id: int, *, force: bool) -> None: ...


def nothing() -> None: ...


@wraps(two)
def wrapped(*args: Any) -> None: ...


@pytest.mark.parametrize(
    ("body", "rule", "said"),
    [
        (two, {}, "can't be called as W007(id): missing a required argument: 'force'"),
        (two, {"call": "event"}, "can't be called as W007(event): missing a required argument: 'force'"),
        (two, {"key": ["id", "name"]}, None),
        (keyword, {}, "missing a required"),
        (nothing, {}, "too many positional arguments"),
        (nothing, {"on": ["truncate"]}, None),
        (wrapped, {}, None),
        (two, {"shadow": True}, "missing a required argument"),
    ],
)
def test_bridge_W007(body: Any, rule: Any, said: str | None, shop_app: Any) -> None:  # noqa: N802
    shop_app.task(body, name="tests.W007", shared=False)
    watch(Product, task="tests.W007", name="w7", **rule)
    if said is None:
        assert run_checks() == []
    else:
        [message] = run_checks()
        assert message.id == "bridge.W007"
        assert said in message.msg


@pytest.fixture
def shop_app() -> Iterator[Any]:
    app = project.load_app()
    assert app is not None
    yield app
    app.tasks.pop("tests.W007", None)


def test_bridge_W008() -> None:  # noqa: N802
    watch(Product, task=reprice, countdown=60, expires=60)
    [message] = run_checks()
    assert (message.id, "before its countdown of 60 s is over" in message.msg) == ("bridge.W008", True)
    registry._in_code.clear()
    watch(Product, task=reprice, countdown=60, expires=61)
    watch(Offer, task=reprice, expires=1)
    assert run_checks() == []
