"""Cases: kinds of tests, databases, rights and settings."""

from datetime import UTC, datetime
from typing import Any
from unittest import SkipTest
from unittest.mock import patch

import pytest
from catalog.models import LegacyProduct, Product, TaskRun
from catalog.tasks import reprice
from celery import current_app
from django.db import DatabaseError, connection, transaction
from django.test import TestCase, TransactionTestCase, override_settings, tag

from django_app import watch
from django_app.declarations import registry
from django_app.inbox import atomic_once
from django_app.models import Watch
from django_app.testing import (
    EndlessChainError,
    TestingError,
    arun_bridge,
    assert_starts,
    assert_starts_nothing,
    beginning,
    captured_events,
    captured_tasks,
    run_bridge,
)
from tests.django.kit.shop import Shop, call, run_of
from tests.django.kit.tasks import fail, note, seen


class AsyncTest(Shop):
    async def test_events_and_tasks(self) -> None:
        async with captured_events() as events:
            await Product.objects.aupdate(price=3)
        assert [event.key for event in events] == [[self.product.pk]]
        assert len(await arun_bridge()) == 1
        async with captured_tasks(execute=True) as tasks:
            await Product.objects.aupdate(price=4)
        assert len(tasks) == 1

    async def test_assertions(self) -> None:
        async with assert_starts(reprice, self.product.pk):
            await Product.objects.aupdate(price=3)
        async with assert_starts_nothing():
            await Product.objects.aupdate(name="Mate")
        with pytest.raises(AssertionError):
            async with assert_starts(reprice):
                await Product.objects.aupdate(name="Mate again")


class NoTestDataTest(TestCase):
    def test_all_of_the_transaction_is_the_test(self) -> None:
        Product.objects.create(name="Lamp", price=1)
        assert [task.name for task in run_bridge()] == ["kit.note"]


class SetUpClassTest(TestCase):
    @classmethod
    def setUpClass(cls) -> None:
        super().setUpClass()
        Product.objects.create(name="Lamp", price=1)

    def test_rows_of_the_class_do_not_count(self) -> None:
        assert run_bridge() == []


class RightsTest(Shop):
    def test_a_role_that_may_not_read_the_log(self) -> None:
        call("create role kit_reader")
        call("grant select, update on catalog_product to kit_reader")
        call("set local role kit_reader")
        with pytest.raises(TestingError, match=r"may not read the event log.*grant select on"), captured_events():
            pass
        assert Product.objects.update(price=3) == 1, "the transaction of the test must be usable"


class OtherDatabaseTest(TestCase):
    databases = {"default", "other"}  # noqa: RUF012 - as Django declares it

    def test_each_database_has_its_own_log(self) -> None:
        Product.objects.using("other").create(name="Lamp", price=1)
        with assert_starts_nothing():
            Product.objects.using("other").update(price=3)
        with assert_starts(note):
            Product.objects.create(name="Lamp", price=1)

    def test_a_task_that_another_database_refuses(self) -> None:
        def refused(how: str) -> None:
            call("select 1/0", using="other")

        with patch.object(fail, "run", refused):
            run_of("fail elsewhere")
            with pytest.raises(DatabaseError, match="division by zero"):
                run_bridge()
        assert Product.objects.using("other").count() == 0, "the transaction of the test must be usable"

    @override_settings(BRIDGE_DATABASE=["default", "other"])
    def test_assertions_find_the_database_of_the_watch(self) -> None:
        with pytest.raises(TestingError, match="names several databases: default, other"):
            assert_starts_nothing()
        with patch.object(registry, "_in_code", []):
            watch(Product, task=note, name="here", using="default")
            watch(Product, task=reprice, name="there", using="other")
            for look in (
                assert_starts(reprice),
                assert_starts("there"),
                assert_starts_nothing(reprice),
                assert_starts_nothing(using="other"),
            ):
                with pytest.raises(TestingError, match="has no schema bridge"), look:
                    pass
            with assert_starts(note):
                Product.objects.create(name="Lamp", price=1)

    def test_a_database_without_the_bridge(self) -> None:
        with pytest.raises(TestingError, match="has no schema bridge"), captured_events(using="other"):
            pass
        assert Product.objects.using("other").count() == 0, "the transaction of the test must be usable"


@override_settings(BRIDGE_DATABASE="file")
class SqliteTest(TestCase):
    def test_it_is_skipped(self) -> None:
        for use in (captured_events, captured_tasks, assert_starts_nothing, lambda: assert_starts(reprice)):
            with pytest.raises(SkipTest, match="is SQLite, which has no watches"), use():
                pass
        with pytest.raises(SkipTest):
            run_bridge()

    @override_settings(BRIDGE_TEST_SQLITE="ignore")
    def test_it_is_ignored(self) -> None:
        with captured_events() as events, captured_tasks(execute=True) as tasks, assert_starts(reprice):
            pass
        with assert_starts_nothing():
            pass
        assert (events, tasks, run_bridge()) == ([], [], [])

    @override_settings(BRIDGE_TEST_SQLITE="no")
    def test_another_value_is_an_error(self) -> None:
        with pytest.raises(Exception, match="BRIDGE_TEST_SQLITE"), captured_events():
            pass


class Committed:
    """The tests of a TransactionTestCase: each finds nothing of the test before."""

    def test_1_committed_changes(self) -> None:
        product = Product.objects.create(name="Lamp", price=1)
        with captured_events() as events:
            Product.objects.update(price=2)
            with transaction.atomic():
                Product.objects.update(price=3)
                with captured_events() as inner:
                    Product.objects.update(price=4)
        assert (len(inner), len(events)) == (1, 3)
        assert [task.name for task in run_bridge()] == ["kit.note", *["catalog.tasks.reprice"] * 3]
        assert TaskRun.objects.filter(product_id=product.pk).count() == 3
        assert run_bridge() == []

    test_2_again = test_1_committed_changes

    def test_3_another_connection_commits(self) -> None:
        other = connection.copy()
        with captured_events() as events:
            with other.cursor() as cursor:
                cursor.execute("insert into catalog_product (name, price) values ('Lamp', 1)")
            with transaction.atomic():
                Product.objects.update(price=2)
                transaction.set_rollback(True)
        other.close()
        assert [event.watch for event in events] == ["product.named"]

    def test_4_a_commit_that_overlaps_the_beginning_of_the_block(self) -> None:
        other = connection.copy()
        other.set_autocommit(False)
        with other.cursor() as cursor:
            cursor.execute("insert into catalog_product (name, price) values ('Lamp', 1)")
        Product.objects.create(name="younger", price=1)
        with captured_events() as events:
            other.commit()
        other.close()
        assert len(events) == 1, "its id is smaller than that of an event before the block"

    def test_5_a_chain(self) -> None:
        LegacyProduct.objects.bulk_create([LegacyProduct(name="Tea", price=1)])
        LegacyProduct.objects.update(price=2)
        try:
            run_bridge()
        except EndlessChainError:
            return
        raise AssertionError


@tag("flushed")
class TransactionTest(Committed, TransactionTestCase):
    pass


@tag("serialized")
class SerializedTest(Committed, TransactionTestCase):
    serialized_rollback = True


@tag("flushed")
class FixtureTest(TransactionTestCase):
    fixtures = ("kit_product",)

    def test_fixtures_do_not_count(self) -> None:
        assert Product.objects.count() == 1
        assert run_bridge() == []
        assert len(run_bridge(include_test_data=True)) == 1


class FixtureInTransactionTest(TestCase):
    fixtures = ("kit_product",)

    def test_fixtures_do_not_count(self) -> None:
        assert run_bridge() == []
        assert len(run_bridge(include_test_data=True)) == 1


@tag("unwatched")
class WithoutWatchesTest(TestCase):
    """Runs with BRIDGE_TEST_TRIGGERS = False, in a database that an earlier run with watches has kept."""

    def test_nothing_is_watched_and_the_kit_says_so(self) -> None:
        assert not Watch.objects.filter(removed_at=None).exists()
        Product.objects.create(name="Lamp", price=1)
        with pytest.raises(SkipTest, match="BRIDGE_TEST_TRIGGERS is False"):
            run_bridge()

    def test_a_test_that_uses_the_kit_is_skipped(self) -> None:
        with assert_starts(reprice):
            raise AssertionError


class TimeTest(TestCase):
    @override_settings(USE_TZ=False)
    def test_a_project_without_time_zones(self) -> None:
        self._check()

    @override_settings(TIME_ZONE="Asia/Tokyo")
    def test_a_project_far_away(self) -> None:
        self._check()

    def _check(self) -> None:
        try:
            with captured_events() as events:
                Product.objects.create(name="Lamp", price=1)
            [task] = run_bridge()
            assert task.headers["bridge"]["at"] == events[0].at.isoformat()
            assert task.headers["bridge"]["at"].endswith("+00:00")
            assert abs(datetime.now(UTC) - events[0].at).total_seconds() < 60
        finally:
            seen.clear()


class CostTest(Shop):
    def queries(self, case: type[TestCase]) -> int:
        """Returns how many queries the beginning of a test costs."""
        texts: list[str] = []

        def count(execute: Any, sql: str, params: Any, many: bool, context: Any) -> Any:
            texts.append(sql)
            return execute(sql, params, many, context)

        with connection.execute_wrapper(count):
            beginning.begin(case)
        return len(texts)

    def test_a_test_costs_no_query(self) -> None:
        assert self.queries(type(self)) == 0, "the class has its mark already"
        beginning._beginnings.clear()
        assert self.queries(type(self)) == 2, "the first test of a class with test data"
        assert self.queries(NoTestDataTest) == 0


class LateTest(Shop):
    def test_a_test_whose_beginning_was_not_seen(self) -> None:
        with patch.dict(beginning._beginnings, clear=True):
            for use in (captured_events, captured_tasks, assert_starts_nothing):
                with pytest.raises(TestingError, match="at the top of the module"), use():
                    pass
            with pytest.raises(TestingError, match="has not seen where this test began"):
                run_bridge()


class OnceTest(Shop):
    def test_a_task_that_takes_effect_once(self) -> None:
        app: Any = current_app
        done: list[str] = []

        def mark(self: Any, key: int) -> None:
            done.append(self.request.id)

        app.task(atomic_once(mark), name="kit.nots", bind=True)
        run_of("x")
        TaskRun.objects.update(task="y")
        [task] = run_bridge()
        task()
        assert done == [task.id], "the second run has the same id"
        del app.tasks["kit.nots"]
