"""A shop whose old dispatch is watched by a shadow watch, with a real broker."""

from collections.abc import Callable, Iterator
from datetime import timedelta
from functools import partial
from typing import Any

import pytest
from catalog.models import LegacyProduct
from catalog.tasks import reprice_legacy
from django.core.management import call_command
from django.db import connection, transaction
from django.db.models import F
from kombu import pools

from django_app import watch
from django_app.shadow import recorder
from django_app.shadow.report import report
from django_app.shadow.verdict import Verdict
from tests.fix_broker import Broker
from tests.fix_postgres import Database

NAME = "legacy"


class Ledger:
    """The old dispatch, with a count of each kind of case that it was driven through."""

    def __init__(self, pks: list[int]) -> None:
        self.pks = pks
        self.counts = dict.fromkeys(("equal", "missed", "doubled", "early", "rolled_back", "needless"), 0)

    def on_commit(self, pk: int, publishes: int = 1) -> None:
        with transaction.atomic():
            LegacyProduct.objects.filter(pk=pk).update(price=F("price") + 1)
            for _ in range(publishes):
                transaction.on_commit(partial(reprice_legacy.delay, pk))
        self.counts["equal" if publishes == 1 else "doubled"] += max(1, publishes - 1)

    def save_in_a_transaction(self, pk: int) -> None:
        """Saves as the admin does: save() publishes while the transaction is open."""
        with transaction.atomic():
            product = LegacyProduct.objects.get(pk=pk)
            product.price += 1
            product.save()
        self.counts["early"] += 1

    def roll_back(self, pk: int) -> None:
        with transaction.atomic():
            product = LegacyProduct.objects.get(pk=pk)
            product.price += 1
            product.save()
            transaction.set_rollback(True)
        self.counts["rolled_back"] += 1

    def update_in_bulk(self, pks: list[int]) -> None:
        LegacyProduct.objects.filter(pk__in=pks).update(price=F("price") + 5)
        self.counts["missed"] += len(pks)

    def update_in_sql(self, pk: int) -> None:
        with connection.cursor() as cursor:
            cursor.execute("update catalog_legacyproduct set price = price + 2 where id = %s", [pk])
        self.counts["missed"] += 1

    def save_unchanged(self, pk: int) -> None:
        LegacyProduct.objects.get(pk=pk).save()
        self.counts["needless"] += 1


@pytest.fixture
def published_to(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Broker]:
    """Lets the shop's own code publish to a broker: Redis, unless the test names the fixture of another one."""
    broker: Broker = request.getfixturevalue(getattr(request, "param", "redis_broker"))
    app: Any = reprice_legacy.app
    # An item, since the attribute returns broker_url while it is not set, and that would be set for good at the end.
    assert app.conf.broker_url  # it has read the settings
    monkeypatch.setitem(app.conf.changes, "broker_write_url", broker.url)
    monkeypatch.setattr(reprice_legacy, "queue", broker.queue, raising=False)
    monkeypatch.setattr(reprice_legacy, "_exec_options", None)  # Celery keeps the queue of the first publish there
    app._after_fork()  # it forgets the connections
    assert app.producer_pool  # Celery makes it at its first use, and not safely if that is in several threads
    yield broker
    pools.reset()
    app._after_fork()


@pytest.fixture
def shadow_watch(
    shop_database: Database, undeclared: None, published_to: Broker
) -> Iterator[Callable[..., list[Verdict]]]:
    """Installs the shadow watch; yields a function that returns the report."""
    watch(LegacyProduct, task=reprice_legacy, on=["update"], columns=["price"], name=NAME, shadow=True)
    call_command("migrate", verbosity=0)

    def compared() -> list[Verdict]:
        recorder.recorder.flush()
        return report(connection, settled=timedelta(0))

    yield compared
    recorder.recorder.flush()


@pytest.fixture
def ledger(shadow_watch: object) -> Ledger:
    products = LegacyProduct.objects.bulk_create([LegacyProduct(name=f"p{n}", price=n) for n in range(40)])
    return Ledger([product.pk for product in products])
