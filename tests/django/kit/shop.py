"""The rows and helpers of the cases."""

from typing import Any

from catalog.models import Offer, Product, TaskRun
from django.db import connections
from django.test import TestCase
from django.utils import timezone

from tests.django.kit.tasks import seen

REPRICE = "catalog.product_reprice"


def run_of(task: str, price: str = "1") -> TaskRun:
    return TaskRun.objects.create(task=task, task_id="", product_id=1, price_seen=price, started_at=timezone.now())


def call(sql: str, *values: Any, using: str = "default") -> None:
    with connections[using].cursor() as cursor:
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
