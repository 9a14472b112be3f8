"""Inbox: for the worker's side - a task that is delivered twice takes effect once.

The task's id goes into `bridge.inbox` in the transaction of the task's own writes: both are committed, or neither.
"""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import wraps
from typing import Any, Concatenate, ParamSpec, TypeVar
from uuid import UUID

import psycopg

_ONCE = "select bridge.once(%s)"

P = ParamSpec("P")
R = TypeVar("R")


@contextmanager
def once(connection: psycopg.Connection[Any], task_id: str | UUID) -> Iterator[bool]:
    """A transaction on `connection` that knows whether this task's work is committed already.

        with once(connection, self.request.id) as first:
            if first:
                ...

    True the first time; after an error the transaction is rolled back, and the next time is the first again. When the
    same task runs twice at once, the second waits for the first one's end.
    """
    with connection.transaction():
        row = connection.execute(_ONCE, [UUID(str(task_id))]).fetchone()
        yield row is not None and bool(row[0])


def in_transaction_once(
    connect: Callable[[], AbstractContextManager[psycopg.Connection[Any]]],
) -> Callable[[Callable[Concatenate[Any, psycopg.Connection[Any], P], R]], Callable[Concatenate[Any, P], R | None]]:
    """Decorates a bound Celery task: its body runs in a transaction on a connection of `connect`, its second argument,
    and not at all when its work is committed already.

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
