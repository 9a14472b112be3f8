"""The setting BRIDGE_TIMELINE_INDEX: `migrate` builds the index, beside writers, and drops it again."""

import io
from contextlib import closing

import psycopg
import pytest
from catalog.models import Product
from django.core.management import call_command
from django.db import connection, transaction
from django.test import override_settings

from django_app import timeline_index
from django_app.timeline_index import is_complete
from tests.django.admin_site import change, execute, page, superuser
from tests.fix_postgres import Database, on_pg18

pytestmark = on_pg18


def migrate() -> str:
    out = io.StringIO()
    call_command("migrate", stdout=out, no_color=True)
    return out.getvalue()


@override_settings(BRIDGE_TIMELINE_INDEX=True)
def test_the_index_is_built_once_used_and_dropped(migrated: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("django_app.admin.log.DEPTH", 1)
    assert is_complete(connection) is None
    assert "The index of the timelines was built." in migrate()
    assert is_complete(connection) is True
    assert "index of the timelines" not in migrate(), "it is there already"
    product, other = (Product.objects.create(name=name, price=1) for name in ("Tea", "Coffee"))
    change(product, "2")
    for price in range(10, 20):
        change(other, str(price))
    shown = page(superuser(), f"event/of/catalog.product/{product.pk}/")
    assert shown.count('class="module"') == 1
    assert "were not looked at" not in shown
    with override_settings(BRIDGE_TIMELINE_INDEX=False):
        assert "The index of the timelines was dropped." in migrate()
    assert is_complete(connection) is None


@override_settings(BRIDGE_TIMELINE_INDEX=True)
def test_an_interrupted_build_is_completed(migrated: Database) -> None:
    execute("create index event_3_key on bridge.event_3 (pg_catalog.jsonb_hash_extended(key, 0), xid)")
    execute("update pg_index set indisvalid = false where indexrelid = 'bridge.event_3_key'::regclass")
    execute("create index event_key on only bridge.event (pg_catalog.jsonb_hash_extended(key, 0), xid)")
    assert is_complete(connection) is False
    migrate()
    assert is_complete(connection) is True


@override_settings(BRIDGE_TIMELINE_INDEX=True)
def test_it_is_built_inside_a_transaction_too(migrated: Database) -> None:
    said: list[str] = []
    with transaction.atomic():
        timeline_index.after_migrate("default", said.append)
    assert is_complete(connection) is True


@override_settings(BRIDGE_TIMELINE_INDEX=True)
def test_a_writer_that_does_not_end_is_no_failure_and_holds_up_nobody(
    migrated: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(timeline_index, "LOCK_TIMEOUT", "50ms")
    with closing(psycopg.connect(migrated.dsn)) as writer:
        writer.execute("insert into catalog_product (name, price) values ('Tea', 1)")
        writer.execute("update catalog_product set price = 2")
        assert "The index of the timelines stays as it was" in migrate()
        writer.execute("update catalog_product set price = 3")
        writer.commit()
    assert is_complete(connection) is not True
    migrate()
    assert is_complete(connection) is True


@override_settings(BRIDGE_TIMELINE_INDEX=True)
def test_a_role_that_does_not_own_the_schema_changes_nothing(
    migrated: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(timeline_index, "stranger", lambda _: "another role owns it")
    timeline_index.after_migrate("default", print)
    assert is_complete(connection) is None
