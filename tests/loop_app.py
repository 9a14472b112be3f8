"""A Celery project with Django whose tasks write rows that watches watch. The worker's integration is on by itself."""

import os
import time
from typing import Any

import django

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "shop.settings")
django.setup()

from catalog.models import Product  # noqa: E402 - needs the set-up
from django.db import connection, transaction  # noqa: E402
from django.db.models import F  # noqa: E402
from shop.celery import app  # noqa: E402

import bridge  # noqa: E402

app.conf.update(
    task_default_queue=os.environ.get("SHOP_QUEUE", "loop"),
    worker_enable_remote_control=False,
    worker_hijack_root_logger=False,
)


def note(task: Any, key: Any) -> None:
    with connection.cursor() as cursor:
        cursor.execute("insert into run (task, key, task_id) values (%s, %s, %s)", [task.name, key, task.request.id])


@app.task(bind=True, name="loop.raise_price")
def raise_price(self: Any, key: int) -> None:
    """Writes the row that started it, outside of a transaction."""
    note(self, key)
    Product.objects.filter(pk=key).update(price=F("price") + 1)


@app.task(bind=True, name="loop.raise_next")
def raise_next(self: Any, key: int) -> None:
    """Writes its own row, and another one."""
    note(self, key)
    with transaction.atomic():
        Product.objects.filter(pk__in=[key, key + 1]).update(price=F("price") + 1)


@app.task(bind=True, name="loop.move")
def move(self: Any, key: int) -> None:
    """Changes the key of its row."""
    note(self, key)
    if key < 1_000_000:
        Product.objects.filter(pk=key).update(id=key + 1_000_000)


@app.task(bind=True, name="loop.slow")
def slow(self: Any, event: dict[str, Any]) -> None:
    """Writes while other tasks of the same process do, with a context of its own."""
    [key] = event["key"]
    with bridge.context(step=key), transaction.atomic():
        note(self, key)
        for _ in range(3):
            Product.objects.filter(pk=key).update(price=F("price") + 1)
            time.sleep(0.01)


@app.task(bind=True, name="loop.again", max_retries=2, default_retry_delay=0)
def again(self: Any, key: int) -> None:
    """Fails once, and writes its row when Celery runs it again."""
    if not self.request.retries:
        raise self.retry()
    note(self, key)
    Product.objects.filter(pk=key).update(price=F("price") + 1)


@app.task(bind=True, name="loop.hand_on")
def hand_on(self: Any, key: int) -> None:
    """Lets another task write the row."""
    note(self, key)
    raise_price.delay(key)


@app.task(bind=True, name="loop.link")
def link(self: Any, key: int) -> None:
    """Lets the callback of another task write the row."""
    note(self, key)
    rest.apply_async((key,), link=raise_price.si(key))


@app.task(bind=True, name="loop.rest")
def rest(self: Any, key: int) -> None:
    note(self, key)
