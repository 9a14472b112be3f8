"""Cases: assert_starts() and assert_starts_nothing(), with their messages."""

from decimal import Decimal
from pathlib import Path
from typing import Any
from unittest.mock import ANY

import pytest
from catalog.models import Offer, Product, TaskRun
from catalog.tasks import reprice
from django.db import connection

from django_app.testing import (
    TestingError,
    assert_starts,
    assert_starts_nothing,
)
from tests.django.kit.shop import REPRICE, Shop, call, run_of
from tests.django.kit.tasks import note, restock


class AssertStartsTest(Shop):
    def test_it_passes(self) -> None:
        for task in (reprice, "catalog.tasks.reprice", REPRICE):
            with assert_starts(task, self.product.pk) as events:
                Product.objects.update(price=Decimal(self.product.price) + len(task if isinstance(task, str) else ""))
                Product.objects.update(price=Decimal(self.product.price) + 100)
            assert events[-1].watch == REPRICE
        with assert_starts(reprice):
            Product.objects.update(price=77)
        with assert_starts(restock, ANY):
            Offer.objects.update(stock=77)

    def test_arguments_are_compared_as_json_has_them(self) -> None:
        run_of("fail", "1.50")
        with assert_starts("kit.price", Decimal("1.5")):
            TaskRun.objects.all().delete()

    def test_keyword_arguments_of_a_sent_task(self) -> None:
        call("select bridge.allow('kit.note')")
        with assert_starts("kit.note", product_id=5):
            call("""select bridge.send('kit.note', '[]', '{"product_id": 5}')""")
        other = r"kit\.note\(product_id=6\) was not started"
        with pytest.raises(AssertionError, match=other), assert_starts("kit.note", product_id=6):
            call("""select bridge.send('kit.note', '[]', '{"product_id": 5}')""")

    def complaint(self, task: Any, *args: Any, change: Any = lambda: None) -> str:
        before = list(connection.execute_wrappers)
        with pytest.raises(AssertionError) as caught, assert_starts(task, *args):
            change()
        assert connection.execute_wrappers == before
        return str(caught.value)

    def test_other_arguments(self) -> None:
        said = self.complaint(reprice, self.product.pk + 1, change=lambda: Product.objects.update(price=3))
        assert f"catalog.tasks.reprice({self.product.pk + 1}) was not started." in said
        assert f"catalog.tasks.reprice({self.product.pk})  ({REPRICE} update [{self.product.pk}]" in said
        assert "recorded nothing" not in said

    def test_nothing_was_written(self) -> None:
        said = self.complaint(reprice)
        assert "The block started nothing" in said
        assert f'The watch "{REPRICE}" (on update of catalog_product; columns price)' in said
        assert "no statement of the block names catalog_product" in said

    def test_other_columns(self) -> None:
        said = self.complaint(reprice, self.product.pk, change=lambda: Product.objects.update(name="Mate"))
        page = Path("docs/howto/testing.md").read_text()
        assert f"AssertionError: {said.replace(f'({self.product.pk})', '(1)')}\n" in page
        assert "the update set only name." in said

    def test_no_value_has_changed(self) -> None:
        assert "no value of price changed" in self.complaint(reprice, change=self.product.save)

    def test_other_operations(self) -> None:
        said = self.complaint(reprice, change=lambda: Product.objects.create(name="Lamp", price=1))
        assert "the block ran only insert on catalog_product" in said
        assert "kit.note(" in said

    def test_a_condition(self) -> None:
        said = self.complaint("kit.fail", change=lambda: run_of("well done"))
        assert "when new.task like 'fail%'" in said
        assert "the condition was not true for any row" in said

    def test_a_watch_that_was_removed_from_the_database(self) -> None:
        call("select bridge.unwatch(%s)", REPRICE)
        said = self.complaint(reprice, change=lambda: Product.objects.update(price=3))
        assert f'"{REPRICE}" is declared at catalog/watches.py:7, but not in the database' in said
        assert "run `manage.py migrate`" in said

    def test_triggers_that_somebody_has_disabled(self) -> None:
        call("alter table catalog_product disable trigger user")
        said = self.complaint(reprice, change=lambda: Product.objects.update(price=3))
        assert "its triggers are disabled: run `manage.py migrate`" in said

    def test_a_watch_whose_table_does_not_exist(self) -> None:
        assert "table catalog_nowhere does not exist" in self.complaint("kit.nowhere")

    def test_a_task_that_no_watch_starts(self) -> None:
        assert "No watch starts 'kit.notes'. Did you mean 'kit.no" in self.complaint("kit.notes")

    def test_something_that_is_not_a_task(self) -> None:
        with pytest.raises(TestingError, match="is not a Celery task"):
            assert_starts(len)  # type: ignore[arg-type]


class AssertStartsNothingTest(Shop):
    def test_it_passes(self) -> None:
        with assert_starts_nothing():
            Product.objects.update(name="Mate")
        with assert_starts_nothing(note):
            Product.objects.update(price=3)

    def test_it_fails(self) -> None:
        for task in (None, reprice, REPRICE):
            with pytest.raises(AssertionError) as caught, assert_starts_nothing(task):
                Product.objects.update(price=Decimal(50) + len(str(task)))
            assert f"catalog.tasks.reprice({self.product.pk})" in str(caught.value)

    def test_an_assertion_that_would_prove_nothing_is_an_error(self) -> None:
        with pytest.raises(TestingError, match=r"No watch starts 'kit.notes'"), assert_starts_nothing("kit.notes"):
            pass
        call("select bridge.unwatch(%s)", REPRICE)
        with pytest.raises(TestingError, match="prove nothing"), assert_starts_nothing(reprice):
            pass
        call("update bridge.watch set removed_at = now()")
        with pytest.raises(TestingError, match="the database has none of them"), assert_starts_nothing():
            pass
