"""A Celery app whose tasks are sent in transactions. Tests use it, and a worker runs it: celery -A tests.django.sending_app

SENDING_BROKER    the broker; the default is an address where nothing listens
SENDING_BACKEND   the result backend; the default is none
SENDING_QUEUE     the queue of all tasks
SENDING_NOTES     a file; each task that runs adds a line of JSON to it
"""

import json
import os
from pathlib import Path
from typing import Any

from celery import Celery

# Nothing listens there, so a call that connects fails.
NOWHERE = "amqp://nobody:nothing@127.0.0.1:9//"

app = Celery(
    "sending",
    broker=os.environ.get("SENDING_BROKER", NOWHERE),
    backend=os.environ.get("SENDING_BACKEND"),
    task_cls="django_app.celery:TransactionalTask",
    set_as_current="SENDING_QUEUE" in os.environ,
    fixups=[],
)
app.conf.task_default_queue = os.environ.get("SENDING_QUEUE", "sending")
app.conf.broker_connection_retry_on_startup = True
app.conf.broker_connection_timeout = 1
app.conf.result_extended = True
app.conf.result_chord_retry_interval = 0.1


def note(task: Any, *values: Any) -> None:
    if "SENDING_NOTES" in os.environ:
        request = task.request
        line = {"task": task.name, "id": request.id, "root": request.root_id, "parent": request.parent_id}
        line |= {"values": list(values), "headers": request.headers, "retries": request.retries, "eta": request.eta}
        with Path(os.environ["SENDING_NOTES"]).open("a") as file:
            file.write(json.dumps(line, default=repr) + "\n")


@app.task(bind=True, shared=False)
def add(self: Any, *numbers: int) -> int:
    note(self, *numbers)
    return sum(numbers)


@app.task(bind=True, shared=False)
def total(self: Any, numbers: list[int], more: int = 0) -> int:
    note(self, numbers, more)
    return sum(numbers) + more


@app.task(bind=True, shared=False)
def echo(self: Any, value: Any) -> str:
    note(self, repr(value))
    return repr(value)


@app.task(bind=True, shared=False)
def fail(self: Any, *values: Any) -> None:
    note(self, *values)
    raise ValueError("as asked")


@app.task(bind=True, shared=False)
def sorry(self: Any, *values: Any) -> None:
    note(self, *[repr(value) for value in values])


@app.task(bind=True, shared=False)
def forbidden(self: Any, *values: Any) -> None:
    note(self, *values)


NAMES = [f"{__name__}.{task}" for task in ("add", "total", "echo", "fail", "sorry")]
