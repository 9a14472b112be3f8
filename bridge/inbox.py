"""Inbox: used by workers, so that a task that is delivered twice takes effect once.

The transaction of the task's own writes also writes the task's id into `bridge.inbox`: both are committed, or neither.
"""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import wraps
from typing import Any, Concatenate, ParamSpec, TypeVar
from uuid import UUID

import psycopg

from bridge.database.statement import statement

_CLAIM = statement("claim_task")

P = ParamSpec("P")
R = TypeVar("R")


@contextmanager
def once(connection: psycopg.Connection[Any], task_id: str | UUID) -> Iterator[bool]:
    """Opens a transaction on `connection`, and yields whether this is the first time that the task runs.

        with once(connection, self.request.id) as first:
            if first:
                ...

    After an error the transaction is rolled back, and the next run is the first again. When a task runs twice at once,
    the second run waits until the first has ended.
    """
    with connection.transaction():
        row = connection.execute(_CLAIM, {"task_id": UUID(str(task_id))}).fetchone()
        yield row is not None and bool(row[0])


def in_transaction_once(
    connect: Callable[[], AbstractContextManager[psycopg.Connection[Any]]],
) -> Callable[[Callable[Concatenate[Any, psycopg.Connection[Any], P], R]], Callable[Concatenate[Any, P], R | None]]:
    """Decorates a bound Celery task, so that its body runs in a transaction on a connection of `connect`, and does not
    run if an earlier run has committed its work. The connection is the body's second argument.

        @app.task(bind=True)
        @in_transaction_once(connect)
        def reprice(self, connection, product_id): ...
    """

    def decorate(
        body: Callable[Concatenate[Any, psycopg.Connection[Any], P], R],
    ) -> Callable[Concatenate[Any, P], R | None]:
        @wraps(body)
        def run(task: Any, /, *args: P.args, **kwargs: P.kwargs) -> R | None:
            with connect() as connection, once(connection, task.request.id) as first:
                return body(task, connection, *args, **kwargs) if first else None

        return run

    return decorate
