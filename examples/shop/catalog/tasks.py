"""The tasks: fetch the product by its id before anything else, then bring its offers in line."""

from datetime import datetime
from decimal import Decimal
from typing import Any

from celery import Task, shared_task
from django.apps import apps
from django.utils import timezone

# Task is written as text: the one of Celery 5.5 takes no parameters at run time.


def reprice_offers(task: "Task[Any, Any]", model: str, product_id: int, started_at: datetime) -> None:
    # The registry breaks the circle that dispatch in save() makes: models import tasks.
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
