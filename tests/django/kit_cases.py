"""Cases for Django's own test runner and for pytest, which tests/django/test_kit.py starts."""

import json
from decimal import Decimal
from typing import Any
from unittest import SkipTest
from unittest.mock import ANY

from catalog.models import LegacyOffer, LegacyProduct, Offer, Product, TaskRun
from catalog.tasks import reprice
from django.db import connection, connections, transaction
from django.test import TestCase, TransactionTestCase, override_settings, tag
from django.utils import timezone

from django_app.models import Watch
from django_app.testing import (
    EndlessChainError,
    TestingError,
    arun_bridge,
    assert_starts,
    assert_starts_nothing,
    captured_events,
    captured_tasks,
    run_bridge,
)
from tests.django.kit_tasks import note, restock, seen

REPRICE = "catalog.product_reprice"


def run_of(task: str, price: str = "1") -> TaskRun:
    return TaskRun.objects.create(task=task, task_id="", product_id=1, price_seen=price, started_at=timezone.now())


def call(sql: str, *values: Any) -> None:
    with connection.cursor() as cursor:
        cursor.execute(sql, values)


class Shop(TestCase):
    product: Product
    offer: Offer

    @classmethod
    def setUpTestData(cls) -> None:
        cls.product = Product.objects.create(name="Tea", price=1)
        cls.offer = Offer.objects.create(product=cls.product, channel="Shop", stock=1)
        Product.objects.update(price=2)

    def setUp(self) -> None:
        seen.clear()
        self.product.refresh_from_db()


class CapturedEventsTest(Shop):
    def test_an_event_has_all_that_was_captured(self) -> None:
        self.offer.stock = 7
        with captured_events() as events:
            call("select set_config('bridge.context', %s, true)", json.dumps({"user": 3}))
            self.offer.save()
        [event] = events
        self.assertEqual((event.watch, event.op, event.key), ("offer.stock", "update", [self.offer.pk]))
        self.assertEqual((event.old["stock"], event.new["stock"], event.changed), (1, 7, ["stock"]))
        self.assertEqual((event.context, event.task, event.refusal), ({"user": 3}, "kit.restock", None))
        self.assertEqual(event.args[0]["new"], event.new)
        self.assertLess(abs(timezone.now() - event.at).total_seconds(), 60)

    def test_a_value_that_the_watch_does_not_carry_is_a_clear_error(self) -> None:
        with captured_events() as events:
            Offer.objects.update(stock=7)
        with self.assertRaisesRegex(KeyError, "has price, stock, and not 'margin': name the column in .* `data`"):
            events[0].new["margin"]

    def test_only_the_block_counts(self) -> None:
        Product.objects.update(price=3)
        with captured_events() as outer:
            with captured_events() as inner:
                Product.objects.update(price=4)
            Product.objects.update(price=5)
        Product.objects.update(price=6)
        self.assertEqual((len(inner), len(outer)), (1, 2))

    def test_what_was_rolled_back_was_not_captured(self) -> None:
        with captured_events() as events:
            with transaction.atomic():
                Product.objects.update(price=3)
                transaction.set_rollback(True)
            with transaction.atomic():
                Product.objects.update(price=4)
        self.assertEqual([event.key for event in events], [[self.product.pk]])

    def test_a_block_that_begins_inside_of_an_atomic(self) -> None:
        with transaction.atomic():
            Product.objects.update(price=3)
            with captured_events() as events:
                Product.objects.update(price=4)
        self.assertEqual(len(events), 1)

    def test_a_block_that_writes_nothing(self) -> None:
        with captured_events() as events:
            Product.objects.get()
        self.assertEqual(events, [])

    def test_a_block_that_fails_raises_its_own_error(self) -> None:
        with self.assertRaises(ZeroDivisionError), captured_events() as events:
            Product.objects.update(price=3)
            raise ZeroDivisionError
        self.assertEqual(events, [])

    def test_a_block_that_breaks_the_transaction_raises_its_own_error(self) -> None:
        with self.assertRaisesRegex(Exception, "division by zero"), transaction.atomic(), captured_events():
            call("select 1/0")

    def test_a_sent_task(self) -> None:
        call("select bridge.allow('kit.note')")
        with captured_events() as events:
            call("select bridge.send('kit.note', '[5]', '{}')")
        self.assertEqual((events[0].op, events[0].task, events[0].args), ("send", "kit.note", (5,)))
        run_bridge()
        self.assertEqual(seen, [("note", 5)])

    def test_an_event_that_would_become_a_dead_letter(self) -> None:
        call("select bridge.allow('kit.note')")
        with captured_events() as events:
            call("select bridge.send('kit.note', '[5]', '{}')")
            call("delete from bridge.sendable")
            call("select 1")
        self.assertIn('task "kit.note" may not be sent', str(events[0].refusal))
        self.assertEqual(events[0].task, "kit.note")
        with self.assertRaisesRegex(TestingError, "would become a dead letter"):
            run_bridge()

    def test_queries_of_the_kit_are_not_counted(self) -> None:
        with self.assertNumQueries(1), captured_events():
            Product.objects.update(price=3)
        with self.assertNumQueries(0):
            captured_tasks(execute=True)

    def test_another_stream(self) -> None:
        with captured_events() as events:
            Product.objects.create(name="Lamp", price=1)
        self.assertEqual([event.watch for event in events], ["product.named"])

    def test_an_unknown_alias(self) -> None:
        with self.assertRaisesRegex(TestingError, "no alias 'nowhere'"), captured_events(using="nowhere"):
            pass


class RunBridgeTest(Shop):
    def test_the_test_data_does_not_count_unless_it_is_asked_for(self) -> None:
        self.assertEqual(run_bridge(), [])
        self.assertEqual([str(task) for task in run_bridge(include_test_data=True)], [
            f"kit.note({self.product.pk})",
            f"catalog.tasks.reprice({self.product.pk})",
        ])  # fmt: skip

    def test_again_the_test_data_does_not_count(self) -> None:
        self.assertEqual(run_bridge(), [])

    def test_a_task_runs_once_and_as_in_a_worker(self) -> None:
        self.product.price = Decimal(9)
        self.product.save()
        [task] = run_bridge()
        self.assertEqual((task.name, task.args), ("catalog.tasks.reprice", (self.product.pk,)))
        run = TaskRun.objects.get()
        self.assertEqual((run.price_seen, run.task_id), (9, task.id))
        self.offer.refresh_from_db()
        self.assertEqual(self.offer.price, Decimal("10.80"))
        self.assertEqual(run_bridge(), [])

    def test_request_and_arguments_are_those_of_a_worker(self) -> None:
        Offer.objects.update(stock=7)
        with captured_events() as events:
            [task] = run_bridge()
        self.assertEqual(events, [], "the task has only read")
        [(event, headers, header, task_id)] = seen
        self.assertEqual(headers["bridge"], header)
        self.assertEqual((header["watch"], header["operation"]), ("offer.stock", "update"))
        self.assertEqual((event["key"], event["new"]["price"], task_id), ([self.offer.pk], "0.00", task.id))
        self.assertEqual(event["new"]["stock"], "changed by the task")
        self.assertEqual(task.args[0]["new"]["stock"], 7, "the task has a copy, as every worker has")

    def test_a_failing_task_raises_and_the_next_ones_can_go_on(self) -> None:
        for how in ("fail", "fail in the database", "fail in atomic"):
            run_of(how)
            Product.objects.create(name="after", price=1)
        with self.assertRaisesRegex(ZeroDivisionError, "fail"):
            run_bridge()
        with self.assertRaisesRegex(Exception, "division by zero"):
            run_bridge()
        self.assertEqual(TaskRun.objects.count(), 3, "the test's transaction must be usable")
        with self.assertRaisesRegex(ZeroDivisionError, "in atomic"):
            run_bridge()
        self.assertEqual([task.name for task in run_bridge()], ["kit.note"])
        self.assertFalse(Product.objects.filter(name="never").exists())

    def test_a_task_that_retries_itself(self) -> None:
        run_of("fail once")
        run_bridge()
        self.assertEqual(seen, ["fail once"] * 2)
        run_of("fail and retry")
        with self.assertRaisesRegex(ZeroDivisionError, "fail and retry"):
            run_bridge()
        self.assertEqual(seen[2:], ["fail and retry"] * 3)

    def test_a_chain_is_followed(self) -> None:
        run_of("fail once")
        Product.objects.update(price=3)
        with captured_tasks(execute=True) as tasks:
            Product.objects.update(price=4)
            run_bridge()
            Product.objects.update(price=5)
        self.assertEqual([str(task) for task in tasks], [f"catalog.tasks.reprice({self.product.pk})"])

    def test_a_task_that_starts_itself_for_ever(self) -> None:
        legacy = LegacyProduct.objects.bulk_create([LegacyProduct(name="Tea", price=1)])[0]
        LegacyProduct.objects.update(price=2)
        with self.assertRaises(EndlessChainError) as caught:
            run_bridge()
        self.assertEqual(seen, ["loop"] * 20)
        said = str(caught.exception)
        self.assertEqual(said.count("kit.loop"), 2)
        self.assertIn(f"kit.loop({legacy.pk})  started by watch legacy.loop, update", said)

    def test_tasks_that_start_each_other_for_ever(self) -> None:
        [legacy] = LegacyProduct.objects.bulk_create([LegacyProduct(name="Tea", price=1)])
        LegacyOffer.objects.create(product=legacy, channel="Shop")
        LegacyProduct.objects.update(name="Coffee")
        with self.assertRaises(EndlessChainError) as caught:
            run_bridge()
        said = str(caught.exception)
        self.assertRegex(said, r"(?s)kit.(ping|pong)\(.*kit.(ping|pong)\(.*kit.\1\(")
        self.assertIn("legacy.ping", said)
        self.assertIn("my-task-never-stops", said)

    def test_coalesced_events_are_one_task(self) -> None:
        for channel in ("a", "b", "c"):
            Offer.objects.update(channel=channel)
        [task] = run_bridge()
        self.assertEqual(seen, [("index", self.offer.pk, 3)])
        self.assertEqual(len(task.ids), 3)
        self.assertEqual(run_bridge(), [])

    def test_a_task_that_the_app_does_not_know(self) -> None:
        run_of("fail never")
        TaskRun.objects.update(task="x")
        with self.assertRaisesRegex(TestingError, "No task named 'kit.nots' is registered .* Did you mean 'kit.note'"):
            with captured_tasks(execute=True):
                TaskRun.objects.update(task="y")

    def test_a_change_that_is_rolled_back_starts_nothing(self) -> None:
        with transaction.atomic():
            Product.objects.update(price=3)
            with captured_events() as events:
                pass
            transaction.set_rollback(True)
        self.assertEqual((events, run_bridge()), ([], []))


class CapturedTasksTest(Shop):
    def test_the_shape_of_capture_on_commit_callbacks(self) -> None:
        with captured_tasks() as tasks:
            Product.objects.update(price=3)
        self.assertEqual(len(tasks), 1)
        self.assertEqual(TaskRun.objects.count(), 0)
        tasks[0]()
        self.assertEqual(TaskRun.objects.count(), 1)
        self.assertEqual(run_bridge(), [], "a task that was called is done")

    def test_execute(self) -> None:
        with captured_tasks(execute=True, using="default") as tasks:
            Product.objects.update(price=3)
            self.assertEqual((tasks, TaskRun.objects.count()), ([], 0))
        self.assertEqual((len(tasks), TaskRun.objects.count()), (1, 1))

    def test_execute_raises_the_exception_of_the_task(self) -> None:
        with self.assertRaisesRegex(ZeroDivisionError, "fail"), captured_tasks(execute=True):
            run_of("fail")

    def test_a_block_that_fails_runs_nothing(self) -> None:
        with self.assertRaises(KeyError), captured_tasks(execute=True):
            Product.objects.update(price=3)
            raise KeyError
        self.assertEqual(TaskRun.objects.count(), 0)

    def test_the_result_of_a_call(self) -> None:
        with captured_tasks() as tasks:
            Offer.objects.update(stock=7)
        self.assertEqual(tasks[0](), "restocked")
        self.assertEqual(tasks[0].event.new["stock"], 7)


class AssertStartsTest(Shop):
    def test_it_passes(self) -> None:
        for task in (reprice, "catalog.tasks.reprice", REPRICE):
            with assert_starts(task, self.product.pk) as events:
                Product.objects.update(price=Decimal(self.product.price) + len(task if isinstance(task, str) else ""))
                Product.objects.update(price=Decimal(self.product.price) + 100)
            self.assertEqual(events[-1].watch, REPRICE)
        with assert_starts(reprice):
            Product.objects.update(price=77)
        with assert_starts(restock, ANY):
            Offer.objects.update(stock=77)

    def test_arguments_are_compared_as_json_has_them(self) -> None:
        run_of("fail", "1.50")
        with assert_starts("kit.price", Decimal("1.5")):
            TaskRun.objects.all().delete()

    def complaint(self, task: Any, *args: Any, change: Any = lambda: None) -> str:
        with self.assertRaises(AssertionError) as caught, assert_starts(task, *args):
            change()
        self.assertEqual(connection.execute_wrappers, [])
        return str(caught.exception)

    def test_other_arguments(self) -> None:
        said = self.complaint(reprice, self.product.pk + 1, change=lambda: Product.objects.update(price=3))
        self.assertIn(f"catalog.tasks.reprice({self.product.pk + 1}) was not started.", said)
        self.assertIn(f"catalog.tasks.reprice({self.product.pk})  ({REPRICE} update [{self.product.pk}]", said)
        self.assertNotIn("recorded nothing", said)

    def test_nothing_was_written(self) -> None:
        said = self.complaint(reprice)
        self.assertIn("The block started nothing", said)
        self.assertIn(f'The watch "{REPRICE}" (on update of catalog_product; columns price)', said)
        self.assertIn("no statement of the block names catalog_product", said)

    def test_other_columns(self) -> None:
        said = self.complaint(reprice, change=lambda: Product.objects.update(name="Mate"))
        self.assertIn("the update set only name.", said)

    def test_no_value_has_changed(self) -> None:
        self.assertIn("no value of price changed", self.complaint(reprice, change=self.product.save))

    def test_other_operations(self) -> None:
        said = self.complaint(reprice, change=lambda: Product.objects.create(name="Lamp", price=1))
        self.assertIn("the block ran only insert on catalog_product", said)
        self.assertIn("kit.note(", said)

    def test_a_condition(self) -> None:
        said = self.complaint("kit.fail", change=lambda: run_of("well done"))
        self.assertIn("when new.task like 'fail%'", said)
        self.assertIn("the condition was not true for any row", said)

    def test_a_watch_that_was_removed_from_the_database(self) -> None:
        call("select bridge.unwatch(%s)", REPRICE)
        said = self.complaint(reprice, change=lambda: Product.objects.update(price=3))
        self.assertIn(f'"{REPRICE}" is declared at catalog/watches.py:7, but the database does not have it', said)
        self.assertIn("run `manage.py migrate`", said)

    def test_a_watch_whose_table_does_not_exist(self) -> None:
        self.assertIn('table catalog_nowhere does not exist', self.complaint("kit.nowhere"))

    def test_a_task_that_no_watch_starts(self) -> None:
        self.assertIn("No watch starts 'kit.notes'. Did you mean 'kit.no", self.complaint("kit.notes"))

    def test_something_that_is_not_a_task(self) -> None:
        with self.assertRaisesRegex(TestingError, "is not a Celery task"):
            assert_starts(len)  # type: ignore[arg-type]


class AssertStartsNothingTest(Shop):
    def test_it_passes(self) -> None:
        with assert_starts_nothing():
            Product.objects.update(name="Mate")
        with assert_starts_nothing(note):
            Product.objects.update(price=3)

    def test_it_fails(self) -> None:
        for task in (None, reprice, REPRICE):
            with self.assertRaises(AssertionError) as caught, assert_starts_nothing(task):
                Product.objects.update(price=Decimal(50) + len(str(task)))
            self.assertIn(f"catalog.tasks.reprice({self.product.pk})", str(caught.exception))

    def test_an_assertion_that_would_prove_nothing_is_an_error(self) -> None:
        with self.assertRaisesRegex(TestingError, "No watch starts 'kit.notes'"), assert_starts_nothing("kit.notes"):
            pass
        call("select bridge.unwatch(%s)", REPRICE)
        with self.assertRaisesRegex(TestingError, "prove nothing"), assert_starts_nothing(reprice):
            pass
        call("update bridge.watch set removed_at = now()")
        with self.assertRaisesRegex(TestingError, "the database has none of them"), assert_starts_nothing():
            pass


class AsyncTest(Shop):
    async def test_events_and_tasks(self) -> None:
        async with captured_events() as events:
            await Product.objects.aupdate(price=3)
        self.assertEqual([event.key for event in events], [[self.product.pk]])
        self.assertEqual(len(await arun_bridge()), 1)
        async with captured_tasks(execute=True) as tasks:
            await Product.objects.aupdate(price=4)
        self.assertEqual(len(tasks), 1)

    async def test_assertions(self) -> None:
        async with assert_starts(reprice, self.product.pk):
            await Product.objects.aupdate(price=3)
        async with assert_starts_nothing():
            await Product.objects.aupdate(name="Mate")
        with self.assertRaises(AssertionError):
            async with assert_starts(reprice):
                await Product.objects.aupdate(name="Mate again")


class NoTestDataTest(TestCase):
    def test_all_of_the_transaction_is_the_test(self) -> None:
        Product.objects.create(name="Lamp", price=1)
        self.assertEqual([task.name for task in run_bridge()], ["kit.note"])


class SetUpClassTest(TestCase):
    @classmethod
    def setUpClass(cls) -> None:
        super().setUpClass()
        Product.objects.create(name="Lamp", price=1)

    def test_rows_of_the_class_do_not_count(self) -> None:
        self.assertEqual(run_bridge(), [])


class RightsTest(Shop):
    def test_a_role_that_may_not_read_the_log(self) -> None:
        call("create role kit_reader")
        call("grant select, update on catalog_product to kit_reader")
        call("set local role kit_reader")
        with self.assertRaisesRegex(TestingError, "may not read the event log.*grant select on"), captured_events():
            pass
        self.assertEqual(Product.objects.update(price=3), 1, "the transaction of the test must be usable")


class OtherDatabaseTest(TestCase):
    databases = ("default", "other")

    def test_each_database_has_its_own_log(self) -> None:
        Product.objects.using("other").create(name="Lamp", price=1)
        with assert_starts_nothing():
            Product.objects.using("other").update(price=3)
        with assert_starts(note):
            Product.objects.create(name="Lamp", price=1)

    def test_a_database_without_the_bridge(self) -> None:
        with self.assertRaisesRegex(TestingError, "has no schema bridge"), captured_events(using="other"):
            pass
        self.assertEqual(Product.objects.using("other").count(), 0, "the transaction of the test must be usable")


@override_settings(BRIDGE_DATABASE="file")
class SqliteTest(TestCase):
    def test_it_is_skipped(self) -> None:
        for use in (captured_events, captured_tasks, assert_starts_nothing, lambda: assert_starts(reprice)):
            with self.assertRaisesRegex(SkipTest, "is SQLite, which has no watches"), use():  # type: ignore[operator]
                pass
        with self.assertRaises(SkipTest):
            run_bridge()

    @override_settings(BRIDGE_TEST_SQLITE="ignore")
    def test_it_is_ignored(self) -> None:
        with captured_events() as events, captured_tasks(execute=True) as tasks, assert_starts(reprice):
            pass
        with assert_starts_nothing():
            pass
        self.assertEqual((events, tasks, run_bridge()), ([], [], []))

    @override_settings(BRIDGE_TEST_SQLITE="no")
    def test_another_value_is_an_error(self) -> None:
        with self.assertRaisesRegex(Exception, "BRIDGE_TEST_SQLITE"), captured_events():
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
        self.assertEqual(Product.objects.count(), 1)
        self.assertEqual(run_bridge(), [])
        self.assertEqual(len(run_bridge(include_test_data=True)), 1)


class FixtureInTransactionTest(TestCase):
    fixtures = ("kit_product",)

    def test_fixtures_do_not_count(self) -> None:
        self.assertEqual(run_bridge(), [])
        self.assertEqual(len(run_bridge(include_test_data=True)), 1)


@tag("unwatched")
class WithoutWatchesTest(TestCase):
    """Runs with BRIDGE_TEST_TRIGGERS = False, in a database that an earlier run with watches has kept."""

    def test_nothing_is_watched_and_the_kit_says_so(self) -> None:
        self.assertFalse(Watch.objects.filter(removed_at=None).exists())
        Product.objects.create(name="Lamp", price=1)
        with self.assertRaisesRegex(SkipTest, "BRIDGE_TEST_TRIGGERS is False"):
            run_bridge()

    def test_a_test_that_uses_the_kit_is_skipped(self) -> None:
        with assert_starts(reprice):
            raise AssertionError


assert connections.settings["file"]["ENGINE"], "the sample project must have a SQLite database"
