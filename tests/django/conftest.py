"""Sets up Django once for the process with the shop's settings; each test has its own database and declarations."""

import os
from collections.abc import Iterator
from typing import Any

import django
import pytest
from celery.signals import after_task_publish
from psycopg import sql

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "shop.settings")
django.setup()

from catalog.models import Product  # noqa: E402 - needs the set-up
from django.core.management import call_command  # noqa: E402
from django.db import connection  # noqa: E402
from django.urls import get_resolver  # noqa: E402
from shop.settings import database as database_settings  # noqa: E402

from bridge.publisher.template import SHADOW_RECEIVER  # noqa: E402
from django_app import guard, project  # noqa: E402
from django_app.apps import _migrating  # noqa: E402
from django_app.declarations import registry  # noqa: E402
from tests.django.sending_app import shop  # noqa: E402
from tests.django.sent import allow, arrived  # noqa: E402
from tests.fix_postgres import Database, PgServer  # noqa: E402
from tests.roles import apply_roles  # noqa: E402

# Celery reads its settings once, and can't read those that a test has overridden.
assert project.load_app() is not None, project.why_no_app()
# The admin gives its links to the declared models when its URLs are first read. A test may declare others.
assert get_resolver().url_patterns

# Programs that other tests start in this process inherit its environment, but they must not load Django.
del os.environ["DJANGO_SETTINGS_MODULE"]


@pytest.fixture(autouse=True)
def unguarded() -> Iterator[None]:
    """Removes the guard of a `migrate` that failed. It lives as long as that run, which a traceback keeps alive."""
    yield
    guard._remove(connection, lambda _: True)
    _migrating.clear()


@pytest.fixture
def shop_database(empty_database: Database, monkeypatch: pytest.MonkeyPatch) -> Iterator[Database]:
    """Points Django's default connection to a new, empty database."""
    connection.close()
    for name, value in database_settings(empty_database.dsn).items():
        monkeypatch.setitem(connection.settings_dict, name, value)
    yield empty_database
    connection.close()


@pytest.fixture
def log(database: Database, monkeypatch: pytest.MonkeyPatch) -> Iterator[Database]:
    """Points Django's default connection to a new database that has the bridge's schema and no other table."""
    connection.close()
    for name, value in database_settings(database.dsn).items():
        monkeypatch.setitem(connection.settings_dict, name, value)
    allow(database)
    yield database
    connection.close()


@pytest.fixture
def migrated(shop_database: Database, pg_server: PgServer) -> Database:
    """A database with the shop's tables and watches. The migrations run once for each set of declarations."""

    def migrate() -> None:
        call_command("migrate", verbosity=0)
        connection.close()

    pg_server.kept(f"migrated {registry.declared()}", shop_database, migrate)
    return shop_database


@pytest.fixture
def shelf(database: Database, monkeypatch: pytest.MonkeyPatch) -> Iterator[Database]:
    """Points Django's default connection to a database with triggers.sql and the table of the products only, which is
    made in a tenth of the time that `migrate` takes."""
    connection.close()
    for name, value in database_settings(database.dsn).items():
        monkeypatch.setitem(connection.settings_dict, name, value)
    with connection.schema_editor() as editor:
        editor.create_model(Product)
    yield database
    connection.close()


@pytest.fixture
def undeclared(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Removes all declarations until the test calls watch()."""
    monkeypatch.setattr(registry, "_in_code", [])
    yield
    after_task_publish.disconnect(dispatch_uid=SHADOW_RECEIVER)  # a shadow watch has connected it


@pytest.fixture
def app() -> Iterator[Any]:
    """Yields an app with the tasks of tests/django/sending_app.py, whose broker is in the memory of this process."""
    app = shop("memory://")
    yield app
    for queue in ("sending", "slow"):
        arrived(app, queue)


@pytest.fixture
def roles(migrated: Database) -> Iterator[dict[str, str]]:
    """Roles as docs/howto/roles.sql sets them up, by what they are for."""
    names = {role: f"{migrated.name} {role}" for role in ("owner", "application", "worker", "process")}
    with migrated.connect() as admin:
        for name in names.values():
            admin.execute(sql.SQL("create role {} login").format(sql.Identifier(name)))
        apply_roles(migrated.dsn, names)
        yield names
        connection.close()
        for name in names.values():
            admin.execute(sql.SQL("drop owned by {}").format(sql.Identifier(name)))
            admin.execute(sql.SQL("drop role {}").format(sql.Identifier(name)))
