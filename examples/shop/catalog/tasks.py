"""The tasks: each first reads the product by its id, then updates the prices of its offers."""

from datetime import datetime
from decimal import Decimal
from typing import Any

from celery import Task, shared_task
from django.apps import apps
from django.utils import timezone

# The annotation is a string, since Celery 5.5's Task takes no type parameters at run time.


def reprice_offers(task: "Task[Any, Any]", model: str, product_id: int, started_at: datetime) -> None:
    # Since save() dispatches, models.py imports this module. Reading the models from Django's registry avoids an import
    # in a circle.
    product = apps.get_model("catalog", model)._default_manager.get(pk=product_id)
    run = apps.get_model("catalog", "TaskRun")
    run._default_manager.create(
        task=task.name,
        task_id=task.request.id or "",
        product_id=product_id,
        price_seen=product.price,
        started_at=started_at,
    )
    for offer in product.offers.all():
        offer.price = (product.price * offer.margin).quantize(Decimal("0.01"))
        offer.save(update_fields=["price"])


@shared_task(bind=True)
def reprice(self: "Task[Any, Any]", product_id: int) -> None:
    reprice_offers(self, "Product", product_id, timezone.now())


@shared_task(bind=True)
def reprice_legacy(self: "Task[Any, Any]", product_id: int) -> None:
    reprice_offers(self, "LegacyProduct", product_id, timezone.now())
