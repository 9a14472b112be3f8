"""The setting BRIDGE_LOG_INDEXES: `migrate` builds the indexes, beside writers, and drops them again."""

import io
from contextlib import closing
from datetime import timedelta
from urllib.parse import urlencode

import psycopg
import pytest
from catalog.models import Product
from django.core.management import call_command
from django.db import connection, transaction
from django.test import override_settings
from django.utils import timezone

from django_app import log_index, patience
from django_app.log_index import is_complete
from tests.django.admin_site import change, execute, page, superuser
from tests.fix_postgres import Database, on_pg18

pytestmark = on_pg18


def migrate() -> str:
    out = io.StringIO()
    call_command("migrate", stdout=out, no_color=True)
    return out.getvalue()


@override_settings(BRIDGE_LOG_INDEXES=True)
def test_the_index_is_built_once_used_and_dropped(migrated: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("django_app.admin.log.DEPTH", 1)
    assert is_complete(connection) is None
    assert "The indexes of the log were built." in migrate()
    assert is_complete(connection) is True
    assert "indexes of the log" not in migrate(), "it is there already"
    product, other = (Product.objects.create(name=name, price=1) for name in ("Tea", "Coffee"))
    change(product, "2")
    for price in range(10, 20):
        change(other, str(price))
    client = superuser()
    shown = page(client, f"event/of/catalog.product/{product.pk}/")
    assert shown.count('class="module"') == 1
    assert "were not looked at" not in shown
    now = timezone.now()
    period = urlencode(
        {"since": (now - timedelta(hours=1)).isoformat(), "until": (now + timedelta(hours=1)).isoformat()}
    )
    found = page(client, f"event/?{period}&op=update")
    assert "11 events" in found
    assert "did not look" not in found
    assert "1 event\n" in page(client, f"event/?{period}&op=update&q={product.pk}")
    longer = urlencode({"since": "2020-01-01", "until": "2999-01-01"})
    assert "did not look" in page(client, f"event/?{longer}")
    with override_settings(BRIDGE_LOG_INDEXES=False):
        assert "The indexes of the log were dropped." in migrate()
    assert is_complete(connection) is None


@override_settings(BRIDGE_LOG_INDEXES=True)
def test_an_interrupted_build_is_completed(migrated: Database) -> None:
    execute("create index event_3_key on bridge.event_3 (pg_catalog.jsonb_hash_extended(key, 0), xid)")
    execute("update pg_index set indisvalid = false where indexrelid = 'bridge.event_3_key'::regclass")
    execute("create index event_key on only bridge.event (pg_catalog.jsonb_hash_extended(key, 0), xid)")
    assert is_complete(connection) is False
    migrate()
    assert is_complete(connection) is True


@override_settings(BRIDGE_LOG_INDEXES=True)
def test_it_is_built_inside_a_transaction_too(migrated: Database) -> None:
    said: list[str] = []
    with transaction.atomic():
        log_index.after_migrate("default", said.append)
    assert is_complete(connection) is True


@override_settings(BRIDGE_LOG_INDEXES=True)
def test_a_writer_that_does_not_end_is_no_failure_and_holds_up_nobody(
    migrated: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(patience, "LOCK_TIMEOUT", "50ms")
    with closing(psycopg.connect(migrated.dsn)) as writer:
        writer.execute("insert into catalog_product (name, price) values ('Tea', 1)")
        writer.execute("update catalog_product set price = 2")
        assert "The indexes of the log stay as they were" in migrate()
        writer.execute("update catalog_product set price = 3")
        writer.commit()
    assert is_complete(connection) is not True
    migrate()
    assert is_complete(connection) is True


@override_settings(BRIDGE_LOG_INDEXES=True)
def test_a_role_that_does_not_own_the_schema_changes_nothing(
    migrated: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(log_index, "stranger", lambda _: "another role owns it")
    log_index.after_migrate("default", print)
    assert is_complete(connection) is None
