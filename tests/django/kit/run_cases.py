"""Cases: what run_bridge() runs, and how."""

import re
from decimal import Decimal

import pytest
from catalog.models import LegacyOffer, LegacyProduct, Offer, Product, TaskRun
from django.db import transaction

from django_app.testing import (
    EndlessChainError,
    TestingError,
    captured_events,
    captured_tasks,
    run_bridge,
)
from tests.django.kit.shop import Shop, run_of
from tests.django.kit.tasks import seen


class RunBridgeTest(Shop):
    def test_the_test_data_does_not_count_unless_it_is_asked_for(self) -> None:
        assert run_bridge() == []
        tasks = [f"kit.note({self.product.pk})", f"catalog.tasks.reprice({self.product.pk})"]
        assert [str(task) for task in run_bridge(include_test_data=True)] == tasks

    def test_again_the_test_data_does_not_count(self) -> None:
        assert run_bridge() == []

    def test_a_task_runs_once_and_as_in_a_worker(self) -> None:
        self.product.price = Decimal(9)
        self.product.save()
        [task] = run_bridge()
        assert (task.name, task.args) == ("catalog.tasks.reprice", (self.product.pk,))
        run = TaskRun.objects.get()
        assert (run.price_seen, run.task_id) == (Decimal(9), task.id)
        self.offer.refresh_from_db()
        assert self.offer.price == Decimal("10.80")
        assert run_bridge() == []

    def test_request_and_arguments_are_those_of_a_worker(self) -> None:
        Offer.objects.update(stock=7)
        with captured_events() as events:
            [task] = run_bridge()
        assert events == [], "the task has only read"
        [(event, headers, header, task_id)] = seen
        assert headers["bridge"] == header
        assert (header["watch"], header["operation"]) == ("offer.stock", "update")
        assert (event["key"], event["new"]["price"], task_id) == ([self.offer.pk], "0.00", task.id)
        assert event["new"]["stock"] == "changed by the task"
        assert task.args[0]["new"]["stock"] == 7, "the task has a copy, as every worker has"

    def test_a_failing_task_raises_and_the_next_ones_can_go_on(self) -> None:
        for how in ("fail", "fail in the database", "fail in atomic"):
            run_of(how)
            Product.objects.create(name="after", price=1)
        with pytest.raises(ZeroDivisionError, match="fail"):
            run_bridge()
        with pytest.raises(Exception, match="division by zero"):
            run_bridge()
        assert TaskRun.objects.count() == 3, "the test's transaction must be usable"
        with pytest.raises(ZeroDivisionError, match="in atomic"):
            run_bridge()
        assert [task.name for task in run_bridge()] == ["kit.note"]
        assert not Product.objects.filter(name="never").exists()

    def test_a_task_that_retries_itself(self) -> None:
        run_of("fail once")
        run_bridge()
        assert seen == ["fail once"] * 2
        run_of("fail and retry")
        with pytest.raises(ZeroDivisionError, match="fail and retry"):
            run_bridge()
        assert seen[2:] == ["fail and retry"] * 3

    def test_a_chain_is_followed(self) -> None:
        run_of("fail once")
        Product.objects.update(price=3)
        with captured_tasks(execute=True) as tasks:
            Product.objects.update(price=4)
            run_bridge()
            Product.objects.update(price=5)
        assert [str(task) for task in tasks] == [f"catalog.tasks.reprice({self.product.pk})"]

    def test_a_task_that_starts_itself_for_ever(self) -> None:
        legacy = LegacyProduct.objects.bulk_create([LegacyProduct(name="Tea", price=1)])[0]
        LegacyProduct.objects.update(price=2)
        with pytest.raises(EndlessChainError) as caught:
            run_bridge()
        assert seen == ["loop"] * 20
        said = str(caught.value)
        assert said.count("kit.loop") == 2
        assert f"kit.loop({legacy.pk})  started by watch legacy.loop, update" in said

    def test_tasks_that_start_each_other_for_ever(self) -> None:
        [legacy] = LegacyProduct.objects.bulk_create([LegacyProduct(name="Tea", price=1)])
        LegacyOffer.objects.create(product=legacy, channel="Shop")
        LegacyProduct.objects.update(name="Coffee")
        with pytest.raises(EndlessChainError) as caught:
            run_bridge()
        said = str(caught.value)
        assert re.search(r"(?s)kit.(ping|pong)\(.*kit.(ping|pong)\(.*kit.\1\(", said)
        assert "legacy.ping" in said
        assert "my-task-never-stops" in said

    def test_a_task_that_makes_new_rows_for_ever(self) -> None:
        Product.objects.create(name="again", price=1)
        with pytest.raises(EndlessChainError) as caught:
            run_bridge()
        assert len(seen) == 20
        assert str(caught.value).count("started by watch product.named, insert") == 2

    def test_coalesced_events_are_one_task(self) -> None:
        for channel in ("a", "b", "c"):
            Offer.objects.update(channel=channel)
        [task] = run_bridge()
        assert seen == [("index", self.offer.pk, 3)]
        assert len(task.ids) == 3
        assert run_bridge() == []

    def test_a_task_that_the_app_does_not_know(self) -> None:
        run_of("fail never")
        TaskRun.objects.update(task="x")
        unknown = r"No task named 'kit.nots' is registered .* Did you mean 'kit.note'"
        with pytest.raises(TestingError, match=unknown), captured_tasks(execute=True):
            TaskRun.objects.update(task="y")

    def test_a_change_that_is_rolled_back_starts_nothing(self) -> None:
        with transaction.atomic():
            Product.objects.update(price=3)
            with captured_events() as events:
                pass
            transaction.set_rollback(True)
        assert (events, run_bridge()) == ([], [])
