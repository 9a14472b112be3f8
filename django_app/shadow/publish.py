"""Publish: what is known of one task that the project's own dispatch has published."""

import sys
from collections.abc import Callable, Mapping, Sequence
from time import monotonic
from typing import Any, NamedTuple

from django.db import connections
from psycopg.pq import TransactionStatus

from bridge.database.statement import statement
from django_app.shadow.arguments import as_json, ordered

_TRANSACTION_ID = statement("read_transaction_id", "django_app")

# The dispatch itself is none of these.
_LIBRARIES = ("celery", "kombu", "django", "django_app", "contextlib", "asgiref", "sentry_sdk", "opentelemetry")
_DEEPEST = 60


class Publish(NamedTuple):
    """One task that was published. It is made in the publishing process, at once."""

    using: str
    """The alias of the database whose watch has the task."""
    task: str
    args: list[Any]
    """The arguments in the order of the task's parameters, as JSON has them."""
    inside: bool
    """Whether a transaction was open on this database."""
    xid: str | None
    """The id of that transaction. None: it had not written anything yet, or had failed."""
    place: str | None
    """File and line that published."""
    moment: float
    """The time on this process's monotonic clock."""

    def row(self) -> dict[str, Any]:
        """Returns the object that `bridge.note_publishes` takes. It has an age, since clocks of machines differ."""
        return {
            "task": self.task,
            "args": self.args,
            "inside": self.inside,
            "xid": self.xid,
            "place": self.place,
            "age": monotonic() - self.moment,
        }


def publish_of(
    using: str, task: str, function: Callable[..., Any] | None, args: Sequence[Any], kwargs: Mapping[str, Any]
) -> Publish:
    """Returns what is known of a task that this thread publishes now. `function` is the task's own, if it is known."""
    inside, xid = _transaction(using)
    return Publish(using, task, as_json(ordered(function, args, kwargs)), inside, xid, _place(), monotonic())


def _transaction(using: str) -> tuple[bool, str | None]:
    """Returns whether this thread has a transaction open, and its id if it has one.

    The statement runs on the thread's own connection, below Django: no test that counts queries sees it, and it only
    runs in a transaction that is open and healthy. A connection that does not exist yet is not opened.
    """
    connection = connections[using]
    raw = connection.connection
    # psycopg begins a transaction with its first statement, so at the begin of an atomic block only Django knows of it.
    inside = connection.in_atomic_block
    if raw is None or raw.closed:
        return inside, None
    status = raw.info.transaction_status
    if status == TransactionStatus.INTRANS:
        with raw.cursor() as cursor:
            cursor.execute(_TRANSACTION_ID)
            row = cursor.fetchone()
        return True, row[0] if row else None
    return inside or status in (TransactionStatus.INERROR, TransactionStatus.ACTIVE), None


def _place() -> str | None:
    """Returns file and line of the code that dispatched the task, without the libraries between it and here."""
    frame = sys._getframe(1)
    for _ in range(_DEEPEST):
        module = str(frame.f_globals.get("__name__", ""))
        if module.partition(".")[0] not in _LIBRARIES:
            depth = module.count(".") + 1
            return f"{'/'.join(frame.f_code.co_filename.split('/')[-depth:])}:{frame.f_lineno}"
        if frame.f_back is None:
            return None
        frame = frame.f_back
    return None
