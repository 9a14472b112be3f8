"""A Celery app whose tasks are sent in transactions. A worker runs it: celery -A tests.django.sending_app

SENDING_BROKER    the broker; the default is an address where nothing listens
SENDING_BACKEND   the result backend; the default is none
SENDING_QUEUE     the queue of all tasks
SENDING_NOTES     a file; each task that runs adds a line of JSON to it
"""

import json
import os
from importlib import import_module
from pathlib import Path
from typing import Any

import django
from celery import Celery

# Nothing listens there, so a call that connects fails.
NOWHERE = "amqp://nobody:nothing@127.0.0.1:9//"


def shop(broker: str = NOWHERE, backend: str | None = None, queue: str = "sending", **settings: Any) -> Any:
    """Returns a new app with all tasks."""
    settings.setdefault("task_cls", "django_app.celery:TransactionalTask")
    app = Celery("sending", broker=broker, backend=backend, set_as_current=False, fixups=[], **settings)
    app.conf.update(
        task_default_queue=queue,
        broker_connection_retry_on_startup=True,
        broker_connection_timeout=1,
        result_extended=True,
        result_chord_retry_interval=0.1,
        worker_enable_remote_control=False,
    )
    for body in (add, total, echo, fail, sorry, insist, forbidden):
        app.task(bind=True, name=f"sending.{body.__name__}", shared=False)(body)
    return app


def note(task: Any, *values: Any) -> None:
    if "SENDING_NOTES" not in os.environ:
        return
    request = task.request
    line = {"task": task.name, "id": request.id, "root": request.root_id, "parent": request.parent_id}
    line |= {"values": [repr(value) for value in values], "headers": request.headers, "retries": request.retries}
    with Path(os.environ["SENDING_NOTES"]).open("a") as file:
        file.write(json.dumps(line, default=repr) + "\n")


def add(self: Any, *numbers: int) -> int:
    note(self, *numbers)
    return sum(numbers)


def total(self: Any, numbers: list[int], more: int = 0) -> int:
    note(self, numbers, more)
    return sum(numbers) + more


def echo(self: Any, value: Any, *rest: Any, **named: Any) -> str:
    note(self, value, *rest, named)
    return repr(value)


def fail(self: Any, *values: Any) -> None:
    note(self, *values)
    raise ValueError("as asked")


def sorry(self: Any, *values: Any) -> None:
    note(self, *values)


def insist(self: Any, tries: int) -> int:
    note(self, tries)
    if self.request.retries < tries:
        raise self.retry(countdown=0.01)
    return int(self.request.retries)


def forbidden(self: Any, *values: Any) -> None:
    note(self, *values)


NAMES = [f"sending.{name}" for name in ("add", "total", "echo", "fail", "sorry", "insist")]

if "SENDING_QUEUE" in os.environ:
    app = shop(os.environ["SENDING_BROKER"], os.environ.get("SENDING_BACKEND"), os.environ["SENDING_QUEUE"])
    app.set_current()
    django.setup()
    if django.VERSION >= (6, 0):
        import_module("tests.django.framework_tasks")
