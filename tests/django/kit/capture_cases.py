"""Cases: what captured_events() and captured_tasks() give."""

import json

import pytest
from catalog.models import Offer, Product, TaskRun
from django.db import transaction
from django.utils import timezone

from django_app.testing import (
    TestingError,
    captured_events,
    captured_tasks,
    run_bridge,
)
from tests.django.kit.shop import Shop, call, run_of
from tests.django.kit.tasks import seen


class CapturedEventsTest(Shop):
    def test_an_event_has_all_that_was_captured(self) -> None:
        self.offer.stock = 7
        with captured_events() as events:
            call("select set_config('bridge.context', %s, true)", json.dumps({"user": 3}))
            self.offer.save()
        [event] = events
        assert (event.watch, event.op, event.key) == ("offer.stock", "update", [self.offer.pk])
        assert (event.old["stock"], event.new["stock"], event.changed) == (1, 7, ["stock"])
        assert (event.context, event.task, event.refusal) == ({"user": 3}, "kit.restock", None)
        assert event.args[0]["new"] == event.new
        assert abs(timezone.now() - event.at).total_seconds() < 60

    def test_a_value_that_the_watch_does_not_carry_is_a_clear_error(self) -> None:
        with captured_events() as events:
            Offer.objects.update(stock=7)
        with pytest.raises(KeyError, match=r"has price, stock, and not 'margin': name the column in .* `data`"):
            events[0].new["margin"]

    def test_only_the_block_counts(self) -> None:
        Product.objects.update(price=3)
        with captured_events() as outer:
            with captured_events() as inner:
                Product.objects.update(price=4)
            Product.objects.update(price=5)
        Product.objects.update(price=6)
        assert (len(inner), len(outer)) == (1, 2)

    def test_what_was_rolled_back_was_not_captured(self) -> None:
        with captured_events() as events:
            with transaction.atomic():
                Product.objects.update(price=3)
                transaction.set_rollback(True)
            with transaction.atomic():
                Product.objects.update(price=4)
        assert [event.key for event in events] == [[self.product.pk]]

    def test_a_block_that_begins_inside_of_an_atomic(self) -> None:
        with transaction.atomic():
            Product.objects.update(price=3)
            with captured_events() as events:
                Product.objects.update(price=4)
        assert len(events) == 1

    def test_a_block_that_writes_nothing(self) -> None:
        with captured_events() as events:
            Product.objects.get()
        assert events == []

    def test_a_block_that_fails_raises_its_own_error(self) -> None:
        with pytest.raises(ZeroDivisionError), captured_events() as events:  # noqa: PT012 - the block is the case
            Product.objects.update(price=3)
            raise ZeroDivisionError
        assert events == []

    def test_a_block_that_breaks_the_transaction_raises_its_own_error(self) -> None:
        with pytest.raises(Exception, match="division by zero"), transaction.atomic(), captured_events():
            call("select 1/0")

    def test_a_sent_task(self) -> None:
        call("select bridge.allow('kit.note')")
        with captured_events() as events:
            call("select bridge.send('kit.note', '[5]', '{}')")
        assert (events[0].op, events[0].task, events[0].args) == ("send", "kit.note", (5,))
        run_bridge()
        assert seen == [("note", 5)]

    def test_an_event_that_would_become_a_dead_letter(self) -> None:
        call("select bridge.allow('kit.note')")
        with captured_events() as events:
            call("select bridge.send('kit.note', '[5]', '{}')")
            call("delete from bridge.sendable")
            call("select 1")
        assert 'task "kit.note" may not be sent' in str(events[0].refusal)
        assert events[0].task == "kit.note"
        with pytest.raises(TestingError, match="would become a dead letter"):
            run_bridge()

    def test_queries_of_the_kit_are_not_counted(self) -> None:
        with self.assertNumQueries(1), captured_events():
            Product.objects.update(price=3)
        with self.assertNumQueries(0):
            captured_tasks(execute=True)

    def test_another_stream(self) -> None:
        with captured_events() as events:
            Product.objects.create(name="Lamp", price=1)
        assert [event.watch for event in events] == ["product.named"]

    def test_an_unknown_alias(self) -> None:
        with pytest.raises(TestingError, match="no alias 'nowhere'"), captured_events(using="nowhere"):
            pass


class CapturedTasksTest(Shop):
    def test_the_shape_of_capture_on_commit_callbacks(self) -> None:
        with captured_tasks() as tasks:
            Product.objects.update(price=3)
        assert len(tasks) == 1
        assert TaskRun.objects.count() == 0
        tasks[0]()
        assert TaskRun.objects.count() == 1
        assert run_bridge() == [], "a task that was called is done"

    def test_execute(self) -> None:
        with captured_tasks(execute=True, using="default") as tasks:
            Product.objects.update(price=3)
            assert (tasks, TaskRun.objects.count()) == ([], 0)
        assert (len(tasks), TaskRun.objects.count()) == (1, 1)

    def test_execute_raises_the_exception_of_the_task(self) -> None:
        with pytest.raises(ZeroDivisionError, match="fail"), captured_tasks(execute=True):
            run_of("fail")

    def test_a_block_that_fails_runs_nothing(self) -> None:
        with pytest.raises(KeyError), captured_tasks(execute=True):  # noqa: PT012 - the block is the case
            Product.objects.update(price=3)
            raise KeyError
        assert TaskRun.objects.count() == 0

    def test_the_result_of_a_call(self) -> None:
        with captured_tasks() as tasks:
            Offer.objects.update(stock=7)
        assert tasks[0]() == "restocked"
        assert tasks[0].event.new["stock"] == 7
