"""Two equal catalogues: the bridge watches the products of one, and products of the other dispatch tasks in save().

The abstract classes have everything that both share, so the dispatch is the only difference.
"""

from decimal import Decimal
from typing import Any

from django.db import models

from catalog import tasks


class PricedProduct(models.Model):
    name = models.CharField(max_length=80)
    price = models.DecimalField(max_digits=10, decimal_places=2)

    class Meta:
        abstract = True

    def __str__(self) -> str:
        return self.name


class PricedOffer(models.Model):
    """One of many records whose price is derived from the product's."""

    channel = models.CharField(max_length=40)
    margin = models.DecimalField(max_digits=5, decimal_places=2, default=Decimal("1.20"))
    stock = models.PositiveIntegerField(default=0)
    price = models.DecimalField(max_digits=10, decimal_places=2, default=Decimal(0), editable=False)

    class Meta:
        abstract = True
        ordering = ("id",)

    def __str__(self) -> str:
        return self.channel


class Product(PricedProduct):
    """The bridge's way: no code here or in the admin dispatches; `watches.py` declares which task a change starts."""


class Offer(PricedOffer):
    product = models.ForeignKey(Product, on_delete=models.CASCADE, related_name="offers")


class LegacyProduct(PricedProduct):
    """The old way: save() dispatches the task, which is before the admin's transaction commits."""

    def save(self, *args: Any, **kwargs: Any) -> None:
        super().save(*args, **kwargs)
        tasks.reprice_legacy.delay(self.pk)


class LegacyOffer(PricedOffer):
    product = models.ForeignKey(LegacyProduct, on_delete=models.CASCADE, related_name="offers")


class TaskRun(models.Model):
    """A record that a task writes when it runs: the price that it saw."""

    task = models.CharField(max_length=80)
    task_id = models.CharField(max_length=80)
    product_id = models.BigIntegerField()
    price_seen = models.DecimalField(max_digits=10, decimal_places=2)
    started_at = models.DateTimeField()

    class Meta:
        indexes = (models.Index(fields=("product_id", "task")),)

    def __str__(self) -> str:
        return f"{self.task}({self.product_id})"
