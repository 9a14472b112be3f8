"""Each mistake in a declaration is a system check with its own id."""

from collections.abc import Iterator
from typing import Any

import kombu
import pytest
from catalog.models import Offer, Product
from catalog.tasks import reprice
from django.conf import settings
from django.core.checks import CheckMessage, run_checks
from django.core.management import call_command
from django.db import connections, models
from django.test import override_settings
from django.test.utils import isolate_apps

from django_app import project, watch
from django_app.checks import check_deployment
from django_app.middleware import ContextMiddleware
from tests.fix_postgres import Database

pytestmark = pytest.mark.usefixtures("undeclared")


def only() -> CheckMessage:
    found = run_checks()
    assert len(found) == 1, found
    return found[0]


def test_good_declarations_pass() -> None:
    watch(Product, task=reprice, on=["update"], columns=["price"], when="new.price > 0", queue="updates")
    watch("catalog_offer", task="catalog.tasks.reprice_legacy", key=["id"], data=["price"], call="event")
    assert run_checks() == []


def test_bridge_E001() -> None:  # noqa: N802
    watch(Product, task=reprice, columns=["cost"])
    message = only()
    assert message.id == "bridge.E001"
    assert "tests/django/test_checks.py:" in message.msg
    assert "'cost' is not a field of catalog.Product that has a column" in message.msg
    assert message.hint == "Its fields: id, name, price."


def test_bridge_E001_for_names_that_are_no_list() -> None:  # noqa: N802
    watch(Product, task=reprice, columns="price")
    assert only().id == "bridge.E001"


def test_bridge_E001_for_a_relation_without_a_column() -> None:  # noqa: N802
    watch(Product, task=reprice, columns=["offers"])
    assert only().id == "bridge.E001"


def test_bridge_E002() -> None:  # noqa: N802
    watch(Product, task=reprice, on=["update"])
    watch(Product, task=reprice, on=["insert"])
    message = only()
    assert message.id == "bridge.E002"
    assert message.msg.count("tests/django/test_checks.py:") == 2, "the message must name both places"


@override_settings(BRIDGE_DATABASE="elsewhere")
def test_bridge_E003_for_an_unknown_alias() -> None:  # noqa: N802
    assert only().id == "bridge.E003"


def test_bridge_W001(monkeypatch: pytest.MonkeyPatch) -> None:  # noqa: N802
    sqlite = {**connections.settings["default"], "ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}
    monkeypatch.setitem(connections.settings, "file", sqlite)
    with override_settings(BRIDGE_DATABASE="file"):
        message = only()
    assert message.id == "bridge.W001"
    assert "'file' is SQLite, so no watch is installed there" in message.msg


@pytest.fixture
def loaded() -> Iterator[None]:
    """The Celery app is looked for again, before and after the test."""
    project._loaded.cache_clear()
    yield
    project._loaded.cache_clear()
    project.load_app()


@pytest.mark.parametrize(
    ("path", "said"),
    [("shop.celery:ap", 'has no "ap". Did you mean shop.celery:app'), ("nowhere:app", "No module named 'nowhere'")],
)
def test_bridge_W002(loaded: None, path: str, said: str) -> None:  # noqa: N802
    watch(Product, task="catalog.tasks.reprice")
    with override_settings(BRIDGE_CELERY_APP=path):
        message = only()
    assert message.id == "bridge.W002"
    assert said in message.msg


def test_bridge_W003() -> None:  # noqa: N802
    watch(Product, task="catalog.tasks.repric")
    message = only()
    assert message.id == "bridge.W003"
    assert "no task named 'catalog.tasks.repric' is registered in the app shop" in message.msg
    assert message.hint == "Did you mean 'catalog.tasks.reprice'?"


def test_bridge_W004() -> None:  # noqa: N802
    app = project.load_app()
    assert app is not None
    watch(Product, task=reprice, queue="fats")
    assert run_checks() == []
    app.conf.task_queues = [kombu.Queue("fast"), kombu.Queue("slow")]
    try:
        message = only()
    finally:
        app.conf.task_queues = None
    assert message.id == "bridge.W004"
    assert "the queue 'fats' is not among" in message.msg
    assert message.hint == "The queues are: fast, slow."


def test_bridge_W005() -> None:  # noqa: N802
    watch(Product, task=reprice, own_writes="ignore")
    assert run_checks() == []
    watch(Offer, task="billing.tasks.charge", own_writes="ignore")
    found = {message.id: message.msg for message in run_checks()}
    assert found.keys() == {"bridge.W003", "bridge.W005"}
    assert "'billing.tasks.charge' is a task of another app" in found["bridge.W005"]


class _Subclass(ContextMiddleware):
    pass


def plain(get_response: Any) -> Any:
    """A middleware that is a function."""
    return get_response


@pytest.mark.parametrize(
    "path", [None, "django_app.middleware.ContextMiddleware", f"{__name__}._Subclass", f"{__name__}.plain"]
)
def test_bridge_W023(path: str | None, monkeypatch: pytest.MonkeyPatch) -> None:  # noqa: N802
    monkeypatch.setattr(settings, "MIDDLEWARE", [path] if path else [])
    found = {message.id for message in run_checks(tags=["security"], include_deployment_checks=True)}
    assert ("bridge.W023" in found) == (path is None or path.endswith("plain"))


def test_bridge_W010(shop_database: Database) -> None:  # noqa: N802
    assert [message.msg for message in run_checks(databases=["default"]) if message.id == "bridge.W010"] == [
        "The schema bridge is not installed; run `manage.py migrate`."
    ]
    call_command("migrate", verbosity=0)
    assert run_checks(databases=["default"]) == []
    watch(Product, task=reprice, name="forgotten")
    [message] = run_checks(databases=["default"])
    assert message.id == "bridge.W010"
    assert message.msg == (
        'Watch "forgotten" is declared, but not installed, so its changes start nothing; run `manage.py migrate`.'
    )


def test_bridge_W022(migrated: Database) -> None:  # noqa: N802
    def found() -> list[str]:
        messages = run_checks(tags=["database"], databases=["default"], include_deployment_checks=True)
        return [message.id or "" for message in messages if isinstance(message.id, str)]

    assert "bridge.W022" in found()
    with migrated.connect() as admin:
        name = f"web_{migrated.name}"
        admin.execute(f"create role {name} login".encode())
        try:
            connections["default"].close()
            settings = connections["default"].settings_dict
            own = settings["USER"]
            settings["USER"] = name
            assert "bridge.W022" not in found()
        finally:
            connections["default"].close()
            settings["USER"] = own
            admin.execute(f"drop role {name}".encode())


def test_bridge_W020_and_W021(monkeypatch: pytest.MonkeyPatch) -> None:  # noqa: N802
    app: Any = project.load_app()
    monkeypatch.setitem(connections["default"].settings_dict, "HOST", "db.example")
    # The first of Celery's settings that counts. Another test may have set it.
    monkeypatch.setitem(app.conf.changes, "broker_write_url", "amqp://shop:secret@mq.example//")
    found = {message.id: message.msg for message in run_checks(tags=["security"], include_deployment_checks=True)}
    assert "on db.example may be without TLS" in found["bridge.W020"]
    assert "on mq.example is without TLS" in found["bridge.W021"]
    monkeypatch.setitem(connections["default"].settings_dict, "OPTIONS", {"sslmode": "verify-full"})
    monkeypatch.setitem(app.conf.changes, "broker_write_url", "amqps://shop:secret@mq.example//")
    found = {message.id: message.msg for message in run_checks(tags=["security"], include_deployment_checks=True)}
    assert not {"bridge.W020", "bridge.W021"} & found.keys()
    monkeypatch.setitem(app.conf.changes, "broker_write_url", "redis+socket:///run/valkey.sock")
    assert "bridge.W021" not in {message.id for message in check_deployment(None)}


@pytest.mark.parametrize("on", [["upsert"], "update", []])
def test_bridge_E004(on: Any) -> None:  # noqa: N802
    watch(Product, task=reprice, on=on)
    assert only().id == "bridge.E004"


@pytest.mark.parametrize("name", ["two words", "1st", "n" * 48])
def test_bridge_E005(name: str) -> None:  # noqa: N802
    watch(Product, task=reprice, name=name)
    assert only().id == "bridge.E005"


@pytest.mark.parametrize(
    "entry",
    [
        {"table": "catalog_product", "task": "t.t", "colums": ["price"]},
        {"table": "catalog_product"},
        {"task": "t.t"},
        "catalog_product",
    ],
)
def test_bridge_E006(entry: Any) -> None:  # noqa: N802
    with override_settings(BRIDGE_WATCHES=[entry]):
        message = only()
    assert message.id == "bridge.E006"
    assert "BRIDGE_WATCHES[0]" in message.msg


@isolate_apps("catalog")
def test_bridge_E007_for_an_abstract_model() -> None:  # noqa: N802
    class Bare(models.Model):
        class Meta:
            abstract = True
            app_label = "catalog"

    watch(Bare, task=reprice)
    assert only().id == "bridge.E007"


@isolate_apps("catalog")
def test_bridge_E007_for_fields_of_two_tables() -> None:  # noqa: N802
    class Parent(models.Model):
        title = models.TextField()

        class Meta:
            app_label = "catalog"

    class Child(Parent):
        size = models.IntegerField()

        class Meta:
            app_label = "catalog"

    watch(Child, task=reprice, columns=["title", "size"])
    message = only()
    assert message.id == "bridge.E007"
    assert "size in catalog_child, title in catalog_parent" in message.msg


def test_bridge_E008() -> None:  # noqa: N802
    watch(Product, task=reprice, priority="high")  # type: ignore[arg-type]
    assert only().id == "bridge.E008"


def test_bridge_E009() -> None:  # noqa: N802
    watch(Product, task=object())  # type: ignore[arg-type]
    assert only().id == "bridge.E009"


class Elsewhere:
    def db_for_write(self, model: type[models.Model], **hints: Any) -> str | None:
        return "archive" if model is Offer else None


@override_settings(DATABASE_ROUTERS=[Elsewhere()])
def test_bridge_E010() -> None:  # noqa: N802
    watch(Offer, task=reprice)
    assert only().id == "bridge.E010"
