"""Cases for Django's own test runner, which tests/django/test_flush.py starts. pytest does not collect them."""

from catalog.models import Offer, Product
from django.db import connection
from django.db.models import F, Max
from django.test import TestCase, TransactionTestCase

from django_app.models import Event

REPRICE = "catalog.product_reprice"


def changed_since(mark: int) -> bool:
    """Returns whether a change was recorded, whatever an earlier run has left in the log."""
    return Event.objects.filter(id__gt=mark, watch=REPRICE, key=[1]).exists()


def mark() -> int:
    last: int = Event.objects.aggregate(last=Max("id", default=0))["last"]
    return last


def product() -> Product:
    """Returns one product, which every test uses."""
    return Product.objects.get_or_create(pk=1, defaults={"name": "Tea", "price": 1})[0]


def change() -> None:
    product()
    Product.objects.update(price=F("price") + 1)


def captured() -> list[object]:
    return [event.key for event in Event.objects.filter(watch=REPRICE)]


class Committed:
    """The first test commits a change, and the second one must not find it."""

    def test_1_a_change_is_captured(self) -> None:
        before = mark()
        change()
        assert changed_since(before)
        assert captured() == [[1]]

    def test_2_a_change_of_the_test_before_is_gone(self) -> None:
        assert captured() == []
        with connection.cursor() as cursor:
            cursor.execute("select count(*) from bridge.watch where removed_at is null")
            assert cursor.fetchone() == (1,), "the flush must keep the watches"

    def test_3_capture_goes_on(self) -> None:
        self.test_1_a_change_is_captured()


class FlushedTest(Committed, TransactionTestCase):
    pass


class SequencesTest(Committed, TransactionTestCase):
    reset_sequences = True


class SerializedTest(Committed, TransactionTestCase):
    serialized_rollback = True


class SomeAppsTest(Committed, TransactionTestCase):
    available_apps = (
        "django.contrib.auth",
        "django.contrib.contenttypes",
        "django_app",
        "catalog",
    )


class RolledBackTest(TestCase):
    """These tests run in a database where an aborted run has left rows and events."""

    def test_a_change_is_captured(self) -> None:
        before = mark()
        change()
        assert changed_since(before)

    def test_no_change_is_none_whatever_an_earlier_run_has_left(self) -> None:
        assert captured() == [[1]], "AbortedTest must have left an event of this row"
        before = mark()
        Offer.objects.create(product=product(), channel="Shop")
        assert not changed_since(before)


class AbortedTest(TransactionTestCase):
    """Leaves rows and events behind, like a run that is killed before it can flush."""

    def _fixture_teardown(self) -> None:
        """Does nothing, like a process that was killed."""

    def test_a_change_is_captured(self) -> None:
        change()
        assert captured() == [[1]]
