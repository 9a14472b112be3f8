"""Shadow mode on the shop: what the old dispatch does wrong is found, and the numbers are those of the ledger."""

import json
import unittest
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import pytest
from catalog.models import LegacyProduct
from catalog.tasks import reprice_legacy
from click.testing import CliRunner
from django.contrib.auth.models import User
from django.core.management import call_command
from django.db import connection, connections, transaction
from django.test import Client, TestCase

from django_app import watch
from django_app.cli.shadow import shadow
from django_app.declarations import registry
from django_app.explanation import changes_of, watches_of
from django_app.shadow.rendering import as_json, as_lines
from django_app.shadow.verdict import Verdict
from django_app.testing import assert_starts, assert_starts_nothing, captured_events, captured_tasks
from tests.celery_queue import inbox
from tests.django.fix_shadow import NAME, Ledger, ledger, published_to, shadow_watch
from tests.eventually import eventually
from tests.fix_bridge import Bridges
from tests.fix_broker import Broker
from tests.fix_postgres import Database

# Fixtures.
__all__ = ["ledger", "published_to", "shadow_watch"]
Report = Callable[[], list[Verdict]]


@pytest.fixture(autouse=True)
def closed() -> Iterator[None]:
    yield
    connections.close_all()


@pytest.mark.parametrize("published_to", ["redis_broker", "valkey", "rabbitmq"], indirect=True)
def test_the_numbers_are_those_of_the_ledger(shadow_watch: Report, ledger: Ledger) -> None:
    pks = iter(ledger.pks)
    for _ in range(4):
        ledger.on_commit(next(pks))
    for _ in range(3):
        ledger.save_in_a_transaction(next(pks))
    for _ in range(2):
        ledger.roll_back(next(pks))
        ledger.on_commit(next(pks), publishes=3)
        ledger.save_unchanged(next(pks))
    ledger.update_in_bulk([next(pks) for _ in range(10)])
    ledger.update_in_sql(next(pks))
    [verdict] = shadow_watch()
    assert {kind: getattr(verdict, kind) for kind in ledger.counts} == ledger.counts
    assert (verdict.changes, verdict.publishes, verdict.unknown) == (4 + 3 + 2 + 11, 4 + 3 + 2 + 6 + 2, 0)
    assert not verdict.is_equal


def test_the_report_names_the_statement_and_the_line(shadow_watch: Report, ledger: Ledger) -> None:
    ledger.update_in_bulk(ledger.pks[:3])
    ledger.update_in_sql(ledger.pks[4])
    ledger.save_in_a_transaction(ledger.pks[5])
    verdicts = shadow_watch()
    bulk, raw = sorted(verdicts[0].examples["missed"], key=lambda example: -example.count)
    assert bulk.count == 3
    assert (bulk.cause or "").startswith('UPDATE "catalog_legacyproduct" SET "price"')
    assert (raw.cause, raw.key) == (f"update catalog_legacyproduct set price = price + 2 where id = {ledger.pks[4]}",
                                    [ledger.pks[4]])  # fmt: skip
    [early] = verdicts[0].examples["early"]
    assert (early.cause or "").startswith("catalog/models.py:")
    lines = "\n".join(as_lines(verdicts))
    assert "4 changes that the old way missed" in lines
    assert "1 published before the commit" in lines
    [said] = json.loads(as_json(verdicts))
    assert (said["watch"], said["missed"], said["is_equal"]) == (NAME, 4, False)


def test_an_edit_in_the_admin_publishes_too_early(shadow_watch: Report, ledger: Ledger) -> None:
    client = Client(SERVER_NAME="localhost")
    client.force_login(User.objects.create_superuser("admin"))
    management = {f"offers-{name}": 0 for name in ("TOTAL_FORMS", "INITIAL_FORMS")}
    for pk in ledger.pks[:5]:
        answer = client.post(
            f"/admin/catalog/legacyproduct/{pk}/change/", {"name": "new", "price": "999", **management}
        )
        assert answer.status_code == 302, answer.content
    [verdict] = shadow_watch()
    assert (verdict.changes, verdict.early, verdict.missed, verdict.equal) == (5, 5, 0, 0)


def test_a_good_dispatch_is_equal(shadow_watch: Report, ledger: Ledger) -> None:
    for pk in ledger.pks[:5]:
        ledger.on_commit(pk)
        ledger.on_commit(pk)  # two changes of one row, one after the other
    with transaction.atomic():  # one task for two changes in one transaction is enough
        for price in (1000, 2000):
            LegacyProduct.objects.filter(pk=ledger.pks[0]).update(price=price)
        transaction.on_commit(lambda: reprice_legacy.apply_async(kwargs={"product_id": ledger.pks[0]}))
    [verdict] = shadow_watch()
    assert verdict.is_equal, as_lines([verdict])
    assert verdict.equal == 11


def test_what_a_savepoint_undid_is_needless(shadow_watch: Report, ledger: Ledger) -> None:
    with transaction.atomic():
        LegacyProduct.objects.filter(pk=ledger.pks[1]).update(name="kept")
        with suppress(ZeroDivisionError), transaction.atomic():
            product = LegacyProduct.objects.get(pk=ledger.pks[0])
            product.price += 1
            product.save()
            raise ZeroDivisionError
    [verdict] = shadow_watch()
    assert (verdict.needless, verdict.changes) == (1, 0)


def test_a_publish_before_the_first_write_is_early_too(shadow_watch: Report, ledger: Ledger) -> None:
    with transaction.atomic():
        LegacyProduct.objects.count()
        reprice_legacy.delay(ledger.pks[0])
        LegacyProduct.objects.filter(pk=ledger.pks[0]).update(price=999)
    [verdict] = shadow_watch()
    assert (verdict.early, verdict.missed, verdict.unknown) == (1, 0, 0)


def test_a_publish_in_a_failed_transaction_does_not_hide_its_error(shadow_watch: Report, ledger: Ledger) -> None:
    with suppress(ZeroDivisionError), transaction.atomic():
        with suppress(Exception), connection.cursor() as cursor:
            cursor.execute("select 1/0")
        reprice_legacy.delay(ledger.pks[0])
        raise ZeroDivisionError
    [verdict] = shadow_watch()
    assert (verdict.unknown, verdict.publishes) == (1, 1)


def test_threads_have_their_own_transactions(shadow_watch: Report, ledger: Ledger) -> None:
    def change(pk: int) -> None:
        ledger.save_in_a_transaction(pk)
        connection.close()

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(change, ledger.pks[:12]))
    [verdict] = shadow_watch()
    assert (verdict.early, verdict.changes) == (12, 12)


def test_a_shadow_watch_starts_no_task_until_it_is_real(
    shadow_watch: Report, ledger: Ledger, published_to: Broker, run_bridge: Bridges, shop_database: Database
) -> None:
    bridge = run_bridge(shop_database.dsn, broker_url=published_to.url)
    ledger.update_in_bulk(ledger.pks[:3])
    skipped = f'bridge_events_skipped_total{{stream="default",watch="{NAME}"}} 3.0'
    assert eventually(lambda: skipped in bridge.get("/metrics"))
    with shop_database.connect() as conn:
        assert eventually(lambda: conn.execute("select count(*) from bridge.waiting").fetchone() == (0,))
        assert conn.execute("select count(*) from bridge.dead_letter").fetchone() == (0,)
    # What waits when the watch becomes real is published: nothing is lost.
    bridge.stop()
    ledger.update_in_bulk(ledger.pks[3:5])
    registry._in_code.clear()
    watch(
        LegacyProduct,
        task=reprice_legacy,
        on=["update"],
        columns=["price"],
        name=NAME,
        queue=published_to.queue,
        shadow=False,
    )
    call_command("bridge_sync", verbosity=0)
    ledger.update_in_bulk(ledger.pks[5:6])
    bridge.start()
    with inbox(published_to) as tasks:
        assert sorted(task.args[0] for task in tasks.take(3)) == ledger.pks[3:6]
    with shop_database.connect() as conn:
        [(data,)] = conn.execute("select data from bridge.event where key = %s", [json.dumps(ledger.pks[5:6])])
    assert data is None  # a watch that is not a shadow keeps no statement


def test_the_testing_kit_starts_nothing_for_a_shadow_watch(shadow_watch: Report, ledger: Ledger) -> None:
    class Case(TestCase):
        def runTest(self) -> None:  # noqa: N802 - the name that unittest wants
            with assert_starts_nothing(), captured_tasks() as tasks, captured_events() as events:
                LegacyProduct.objects.filter(pk=ledger.pks[0]).update(price=999)
            assert (len(events), tasks) == (1, [])
            assert events[0].refusal == "its watch has the option shadow, so it is only recorded"
            with pytest.raises(AssertionError, match="only recorded"), assert_starts(reprice_legacy):
                LegacyProduct.objects.filter(pk=ledger.pks[0]).update(price=998)

    result = unittest.TestResult()
    unittest.TestSuite([Case()]).run(result)
    assert (result.testsRun, result.errors, result.failures) == (1, [], [])


def test_explain_says_that_a_change_is_only_recorded(shadow_watch: Report, ledger: Ledger) -> None:
    ledger.update_in_sql(ledger.pks[0])
    watches = watches_of(connection, LegacyProduct)
    said = list(changes_of(connection, watches, {watch.name: f"[{ledger.pks[0]}]" for watch in watches}))
    assert "recorded only, since the watch has the option shadow" in said[0]


def test_real_and_shadow_watches_share_a_batch(
    shadow_watch: Report, ledger: Ledger, published_to: Broker, run_bridge: Bridges, shop_database: Database
) -> None:
    with shop_database.connect() as conn:
        conn.execute(
            "select bridge.watch('real', 'catalog_legacyproduct', 'shop.touch', key => '{id}', options => %s::jsonb)",
            [json.dumps({"queue": published_to.queue})],
        )
    ledger.update_in_bulk(ledger.pks[:5])
    bridge = run_bridge(shop_database.dsn, broker_url=published_to.url)
    with inbox(published_to) as tasks:
        assert {task.name for task in tasks.take(5)} == {"shop.touch"}
    for metric, number in (("published", 5), ("skipped", 5)):
        watched = "real" if metric == "published" else NAME
        line = f'bridge_events_{metric}_total{{stream="default",watch="{watched}"}} {number}.0'
        assert eventually(lambda line=line: line in bridge.get("/metrics"))  # type: ignore[misc]


def test_the_command(shadow_watch: Report, ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    ledger.on_commit(ledger.pks[0])
    shadow_watch()
    done = CliRunner().invoke(shadow, [])
    assert (done.exit_code, "1 publishes" in done.output) == (0, True), done.output
    done = CliRunner().invoke(shadow, ["--since", "1h", "--json"])
    assert json.loads(done.output)[0]["watch"] == NAME
