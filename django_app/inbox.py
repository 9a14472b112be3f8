"""The inbox on Django's connection: a task that is delivered twice takes effect once (see bridge.inbox)."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from typing import Any, Concatenate, ParamSpec, TypeVar
from uuid import UUID

from django.db import connections, transaction

from bridge.database.statement import statement
from django_app.database import alias

_CLAIM = statement("claim_task")

P = ParamSpec("P")
R = TypeVar("R")


@contextmanager
def once(task_id: str | UUID) -> Iterator[bool]:
    """Opens a `transaction.atomic()`; yields True the first time, and False if this task's work is committed already.

    It uses the database BRIDGE_DATABASE; what the task does in other databases is not part of the transaction.
    """
    with transaction.atomic(using=alias()):
        with connections[alias()].cursor() as cursor:
            cursor.execute(_CLAIM, {"task_id": str(UUID(str(task_id)))})
            [(first,)] = cursor.fetchall()
        yield bool(first)


def atomic_once(body: Callable[Concatenate[Any, P], R]) -> Callable[Concatenate[Any, P], R | None]:
    """Decorates a bound Celery task: its body runs in `transaction.atomic()`, unless its work is committed already.

    @shared_task(bind=True)
    @atomic_once
    def reprice(self, product_id): ...
    """

    @wraps(body)
    def run(task: Any, /, *args: P.args, **kwargs: P.kwargs) -> R | None:
        with once(task.request.id) as first:
            return body(task, *args, **kwargs) if first else None

    return run
