"""Several databases with watches: each gets its own, and one process serves all of them."""

import os
from collections.abc import Iterator

import pytest
from catalog.models import Offer, Product
from catalog.tasks import reprice
from django.conf import settings
from django.core.checks import run_checks
from django.core.management import call_command
from django.db import connections
from django.test import override_settings
from shop.settings import database as database_settings

from bridge.cli.options import _Addresses
from django_app import watch
from django_app.cli.environment import project_environment
from django_app.findings import findings
from tests.fix_postgres import Database, PgServer

BOTH = ["default", "second"]


@pytest.fixture
def second(migrated: Database, pg_server: PgServer, undeclared: None, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Adds a second alias with a database of its own, which is not migrated yet."""
    name = f"{migrated.name}_second"
    with migrated.connect() as admin:
        admin.execute(f"create database {name}".encode())
    values = {**connections.settings["default"], **database_settings(migrated.dsn), "NAME": name}
    monkeypatch.setitem(connections.settings, "second", values)
    # Celery can't read settings that override_settings() has replaced.
    monkeypatch.setattr(settings, "BRIDGE_DATABASE", BOTH, raising=False)
    yield name
    connections["second"].close()
    del connections["second"]
    pg_server.drop(name)


def installed(alias: str) -> list[str]:
    with connections[alias].cursor() as cursor:
        cursor.execute("select name from bridge.watch where removed_at is null order by name")
        return [name for (name,) in cursor]


def test_each_database_gets_the_watches_of_its_tables(second: str) -> None:
    watch(Product, task=reprice, name="here")
    watch(Offer, task=reprice, name="there", using="second")
    assert run_checks() == []
    call_command("migrate", verbosity=0)
    assert installed("default") == ["here"]
    assert findings() == [
        "the schema bridge is not installed; run `manage.py migrate --database second`",
    ]
    call_command("migrate", database="second", verbosity=0)
    assert installed("second") == ["there"]
    assert findings() == []
    with connections["second"].cursor() as cursor:
        cursor.execute("insert into catalog_product (name, price) values ('Tea', 1) returning id")
        [(product,)] = cursor.fetchall()
        offer = "insert into catalog_offer (channel, margin, stock, price, product_id) values ('web', 1, 1, 1, %s)"
        cursor.execute(offer, [product])
        cursor.execute("select watch from bridge.event")
        assert cursor.fetchall() == [("there",)]


def test_one_run_serves_all_and_the_other_commands_look_at_one(second: str, capsys: pytest.CaptureFixture[str]) -> None:
    watch(Offer, task=reprice, name="there", using="second")
    watch(Product, task=reprice, name="there-too", using="second")
    with project_environment(BOTH):
        here, there = _Addresses().split_envvar_value(os.environ["BRIDGE_DATABASE_URL"])
    assert second not in here
    assert f"dbname={second}" in there
    call_command("migrate", database="second", verbosity=0)
    capsys.readouterr()
    for arguments, number in (([], 1), (["--database", "second"], 2)):
        with pytest.raises(SystemExit):  # nobody serves the stream
            call_command("bridge", "status", *arguments, "--json")
        assert f'"watches": {number}' in capsys.readouterr().out


def test_a_database_that_the_bridge_does_not_know_is_an_error(second: str) -> None:
    with override_settings(BRIDGE_DATABASE="default"):
        watch(Offer, task=reprice, using="second")
        [message] = run_checks()
    assert message.id == "bridge.E010"
    assert "catalog.Offer is in the database 'second', but the bridge is in 'default'" in message.msg
