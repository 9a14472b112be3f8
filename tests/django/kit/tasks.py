"""The tasks of the sample project that tries the testing kit."""

from typing import Any

from celery import shared_task
from django.db import connection, transaction
from django.db.models import F

seen: list[Any] = []
"""What the tasks got. A test empties it."""


def _update(model: str, key: int, **values: Any) -> None:
    from django.apps import apps  # noqa: PLC0415 - Celery may import this module before the apps are loaded

    apps.get_model("catalog", model)._default_manager.filter(pk=key).update(**values)


@shared_task(name="kit.restock", bind=True)
def restock(self: Any, event: dict[str, Any]) -> str:
    seen.append((event, self.request.headers, self.request.bridge, self.request.id))
    event["new"]["stock"] = "changed by the task"
    return "restocked"


@shared_task(name="kit.note")
def note(product_id: int) -> None:
    from catalog.models import Product  # noqa: PLC0415 - as above

    seen.append(("note", product_id))
    if Product.objects.filter(pk=product_id, name="again").exists():
        Product.objects.create(name="again", price=1)


@shared_task(name="kit.index", bind=True)
def index(self: Any, offer_id: int) -> None:
    seen.append(("index", offer_id, self.request.bridge.get("coalesced")))


@shared_task(name="kit.loop")
def loop(product_id: int) -> None:
    seen.append("loop")
    _update("LegacyProduct", product_id, price=F("price") + 1)


@shared_task(name="kit.ping")
def ping(product_id: int) -> None:
    from catalog.models import LegacyOffer  # noqa: PLC0415 - as above

    LegacyOffer.objects.filter(product_id=product_id).update(channel=f"ping {len(seen)}")


@shared_task(name="kit.pong")
def pong(product_id: int) -> None:
    _update("LegacyProduct", product_id, name=f"pong {len(seen)}")
    seen.append("pong")


@shared_task(name="kit.price")
def price(seen_price: str) -> None:
    seen.append(seen_price)


@shared_task(name="kit.fail", bind=True, max_retries=2, default_retry_delay=60)
def fail(self: Any, how: str) -> None:
    seen.append(how)
    if how == "fail in the database":
        with connection.cursor() as cursor:
            cursor.execute("select 1/0")
    if how == "fail in atomic":
        with transaction.atomic(durable=True):
            _update("Product", 1, name="never")
            raise ZeroDivisionError(how)
    if how == "fail and retry":
        raise self.retry(exc=ZeroDivisionError(how))
    if how == "fail once" and self.request.retries == 0:
        raise self.retry()
    if how != "fail once":
        raise ZeroDivisionError(how)
