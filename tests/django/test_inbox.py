"""The inbox in Django: effects of the ORM happen once."""

from uuid import uuid4

import pytest
from catalog.models import Product
from celery import Celery
from django.db import transaction

from django_app.inbox import atomic_once, once
from tests.fix_postgres import Database

pytestmark = pytest.mark.usefixtures("migrated")


def test_a_redelivered_task_does_nothing_twice(migrated: Database) -> None:
    app = Celery("shop", set_as_current=False)

    @app.task(bind=True)
    @atomic_once
    def add(self: object, name: str) -> str:
        Product.objects.create(name=name, price=1)
        return name

    task_id = str(uuid4())
    assert [add.apply(("lamp",), task_id=task_id).get() for _ in range(2)] == ["lamp", None]
    assert Product.objects.filter(name="lamp").count() == 1


def test_a_task_that_failed_is_done_the_next_time(migrated: Database) -> None:
    task_id = uuid4()
    with pytest.raises(ZeroDivisionError), once(task_id):
        raise ZeroDivisionError
    with transaction.atomic(), once(task_id) as first:
        assert first
