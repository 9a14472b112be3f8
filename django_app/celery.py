"""Tasks as part of the transaction: the base class for a project's tasks, and functions for single calls.

app = Celery("shop", task_cls="django_app.celery:TransactionalTask")

with transaction.atomic():
    product.save()
    reprice.delay(product.pk)  # sent if this commits, and only then; nothing is lost
"""

import json
from typing import Any

from asgiref.sync import sync_to_async
from celery.canvas import Signature
from django.db import transaction

from bridge.canvas import CanvasError, named
from django_app.database import alias
from django_app.errors import SendError
from django_app.sending.letter import text
from django_app.sending.post import always, goes_into_the_log, open_database, post
from django_app.sending.recording import RecordableTask, is_recorded


class TransactionalTask(RecordableTask):
    """A task whose calls inside a transaction of BRIDGE_DATABASE are a part of it. Outside they are Celery's own."""

    abstract = True

    def apply_async(
        self,
        args: Any = None,
        kwargs: Any = None,
        task_id: Any = None,
        producer: Any = None,
        link: Any = None,
        link_error: Any = None,
        shadow: Any = None,
        **options: Any,
    ) -> Any:
        """See Celery. The result has the id that the task will have."""
        options |= {"task_id": task_id, "link": link, "link_error": link_error, "shadow": shadow}
        if is_recorded(self) or self._get_app().conf.task_always_eager or not goes_into_the_log():
            return super().apply_async(args, kwargs, producer=producer, **options)
        return post(self, args, kwargs, options)

    def retry(self, *args: Any, **options: Any) -> Any:
        """See Celery. It ends the task by an exception, which rolls back what the task has open, so it is Celery's."""
        with always(durable=False):
            return super().retry(*args, **options)

    def replace(self, sig: Any) -> Any:
        """See Celery. It ends the task by an exception too."""
        with always(durable=False):
            return super().replace(sig)

    def delay_in_transaction(self, *args: Any, **kwargs: Any) -> Any:
        """Calls the task as part of the transaction or, if there is none, with a commit of its own."""
        return apply_async_in_transaction(self, args, kwargs)

    def apply_async_in_transaction(self, args: Any = None, kwargs: Any = None, **options: Any) -> Any:
        """Does what delay_in_transaction does, with the options of apply_async."""
        return apply_async_in_transaction(self, args, kwargs, **options)

    async def adelay_in_transaction(self, *args: Any, **kwargs: Any) -> Any:
        """Calls the task from async code, where Django has no transactions, with a commit of its own."""
        return await aapply_async_in_transaction(self, args, kwargs)

    async def aapply_async_in_transaction(self, args: Any = None, kwargs: Any = None, **options: Any) -> Any:
        """Does what adelay_in_transaction does, with the options of apply_async."""
        return await aapply_async_in_transaction(self, args, kwargs, **options)

    def delay_on_commit(self, *args: Any, **kwargs: Any) -> Any:
        """Does what Celery's own method of this name promises, but loses nothing; outside a transaction it is delay."""
        return self.delay(*args, **kwargs)

    def apply_async_on_commit(self, *args: Any, **options: Any) -> Any:
        """Does what delay_on_commit does, with the options of apply_async."""
        return self.apply_async(*args, **options)


def delay_in_transaction(task: Any, /, *args: Any, **kwargs: Any) -> Any:
    """Calls a task of any class as part of the transaction or, if there is none, with a commit of its own.

    Returns a result that has the task's id. Raises SendError if the task can't be sent.
    """
    return apply_async_in_transaction(task, args, kwargs)


def apply_async_in_transaction(task: Any, /, args: Any = None, kwargs: Any = None, **options: Any) -> Any:
    """Does what delay_in_transaction does, with the options of apply_async; the task may also be a signature."""
    if isinstance(task, Signature):
        return _send_signature(task, args, kwargs, options)
    if task._get_app().conf.task_always_eager:
        return task.apply_async(args, kwargs, **options)
    return post(task, args, kwargs, options)


async def adelay_in_transaction(task: Any, /, *args: Any, **kwargs: Any) -> Any:
    """Calls a task from async code. Django has no transactions there, so the call has a commit of its own."""
    return await aapply_async_in_transaction(task, args, kwargs)


async def aapply_async_in_transaction(task: Any, /, args: Any = None, kwargs: Any = None, **options: Any) -> Any:
    """Does what adelay_in_transaction does, with the options of apply_async."""
    return await sync_to_async(apply_async_in_transaction)(task, args, kwargs, **options)


def _send_signature(signature: Any, args: Any, kwargs: Any, options: dict[str, Any]) -> Any:
    """Lets Celery call the tasks of a signature. It may call several, so they get one transaction."""
    _require_class(signature)
    with transaction.atomic(using=open_database() or alias()), always(durable=True):
        return signature.apply_async(args, kwargs, **options)


def _require_class(signature: Any) -> None:
    name, app = signature.task, signature.app
    try:
        # As a worker would get it: Celery's signatures have tuples, generators and classes of their own.
        tasks = set(named({"chain": json.loads(text(name, "arguments", signature))}))
    except CanvasError as error:
        raise SendError(name, str(error)) from error
    for task in sorted(tasks):
        if not isinstance(app.tasks.get(task), TransactionalTask):
            raise SendError(
                name,
                f"Celery would publish the task {task!r} of this signature at once",
                'Give the app the class: Celery(..., task_cls="django_app.celery:TransactionalTask").',
            )
