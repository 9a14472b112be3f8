"""Generated mixes of writers and dispatches: the report's numbers are those of a ledger that is kept independently."""

import random
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from typing import Any

import psycopg
import pytest
from catalog.models import LegacyProduct
from catalog.tasks import reprice_legacy
from django.db import connection, connections, transaction
from django.db.models import F

from django_app.celery import delay_in_transaction
from django_app.shadow.rendering import as_lines
from django_app.shadow.verdict import Verdict
from tests.django.fix_shadow import Ledger, ledger, published_to, shadow_watch
from tests.fix_postgres import Database

_TASK: Any = reprice_legacy
__all__ = ["ledger", "published_to", "shadow_watch"]
Rows = list[LegacyProduct]
Case = Callable[[Rows, str], Counter[str]]


@pytest.fixture(autouse=True)
def closed() -> Iterator[None]:
    yield
    connections.close_all()


def _raise(rows: Rows) -> None:
    """Changes the price of the rows, as one statement."""
    LegacyProduct.objects.filter(pk__in=[row.pk for row in rows]).update(price=F("price") + 1)


def bulk_update(rows: Rows, _: str) -> Counter[str]:
    for row in rows:
        row.price += 1
    LegacyProduct.objects.bulk_update(rows, ["price"])
    return Counter(missed=len(rows))


def other_writer(rows: Rows, dsn: str) -> Counter[str]:
    with psycopg.connect(dsn) as conn:
        conn.execute("update catalog_legacyproduct set price = price + 1 where id = any(%s)", [[r.pk for r in rows]])
    return Counter(missed=len(rows))


def atomic_and_on_commit(rows: Rows, _: str) -> Counter[str]:
    """Two statements, one of which is undone; one publish after the commit for each row."""
    with transaction.atomic():
        _raise(rows)
        with suppress(ZeroDivisionError), transaction.atomic():
            _raise(rows)
            raise ZeroDivisionError
        with transaction.atomic():
            _raise(rows)
            for row in rows:
                transaction.on_commit(partial(_TASK.delay, product_id=row.pk))
    return Counter(equal=len(rows))


def on_commit_undone(rows: Rows, _: str) -> Counter[str]:
    """A savepoint that is rolled back takes its on_commit along, as it takes its change."""
    with transaction.atomic():
        LegacyProduct.objects.filter(pk=rows[0].pk).update(name="kept")
        with suppress(ZeroDivisionError), transaction.atomic():
            _raise(rows)
            for row in rows:
                transaction.on_commit(partial(_TASK.delay, row.pk))
            raise ZeroDivisionError
    return Counter()


def save(rows: Rows, _: str) -> Counter[str]:
    """Outside of a transaction: save() publishes after the commit of its own statement."""
    for row in rows:
        row.price += 1
        row.save(update_fields=["price"])
    return Counter(equal=len(rows))


def save_in_atomic(rows: Rows, _: str) -> Counter[str]:
    with transaction.atomic():
        save(rows, _)
    return Counter(early=len(rows))


def delay_before_the_write(rows: Rows, _: str) -> Counter[str]:
    with transaction.atomic():
        for row in rows:
            _TASK.delay(str(row.pk))
        _raise(rows)
    return Counter(early=len(rows))


def rolled_back(rows: Rows, _: str) -> Counter[str]:
    with transaction.atomic():
        save(rows, _)
        transaction.set_rollback(True)
    return Counter(rolled_back=len(rows))


def sent(rows: Rows, _: str) -> Counter[str]:
    with transaction.atomic():
        for row in rows:
            delay_in_transaction(_TASK, row.pk)
        _raise(rows)
    return Counter(equal=len(rows))


def retried(rows: Rows, _: str) -> Counter[str]:
    """The task fails and is published again. This does not count as a dispatch."""
    with transaction.atomic():
        _raise(rows)
        for row in rows:
            transaction.on_commit(partial(_TASK.delay, row.pk))
    for row in rows:
        _TASK.apply_async((row.pk,), retries=1)
    return Counter(equal=len(rows))


def doubled(rows: Rows, _: str) -> Counter[str]:
    with transaction.atomic():
        _raise(rows)
        for row in rows * 3:
            transaction.on_commit(partial(_TASK.delay, row.pk))
    return Counter(doubled=2 * len(rows))


def renamed(rows: Rows, _: str) -> Counter[str]:
    for row in rows:
        LegacyProduct(pk=row.pk, name="new", price=row.price).save()
    return Counter(needless=len(rows))


CASES: list[Case] = [
    bulk_update, other_writer, atomic_and_on_commit, on_commit_undone, save, save_in_atomic, delay_before_the_write,
    rolled_back, sent, retried, doubled, renamed,
]  # fmt: skip


@pytest.mark.parametrize("seed", range(3))
def test_the_report_of_a_mix_is_the_ledger(
    shadow_watch: Callable[[], list[Verdict]], ledger: Ledger, shop_database: Database, seed: int
) -> None:
    """Each case has rows of its own; its thread runs several of them, and all threads run at once."""
    chance = random.Random(seed)
    products = list(LegacyProduct.objects.bulk_create([LegacyProduct(name="p", price=n) for n in range(400)]))

    def run(cases: list[tuple[Case, Rows]]) -> Counter[str]:
        try:
            return sum((case(rows, shop_database.dsn) for case, rows in cases), Counter[str]())
        finally:
            connection.close()

    work: list[list[tuple[Case, Rows]]] = [[] for _ in range(6)]
    while len(products) > 5:
        size = chance.randint(1, 4)
        rows, products = products[:size], products[size:]
        chance.choice(work).append((chance.choice(CASES), rows))
    with ThreadPoolExecutor(len(work)) as pool:
        expected = sum(pool.map(run, work), Counter[str]())
    [verdict] = shadow_watch()
    kinds = ("equal", "missed", "doubled", "early", "rolled_back", "needless", "unknown")
    assert {kind: getattr(verdict, kind) for kind in kinds} == {kind: expected[kind] for kind in kinds}, as_lines(
        [verdict]
    )
