"""A web process that sends a task in a transaction, for tests that kill it.

    python -m tests.django.sending_web <name of a point>    stops there, and prints the name and the task's id
    python -m tests.django.sending_web                      sends one task after another until it is killed

Every transaction also writes the task's id into the table `sent`, so the table knows what has committed.
"""

import itertools
import os
import signal
import sys
from typing import Any

import django
from celery import signals
from django.db import connection, transaction

from tests.django.sending_app import shop

POINTS = ["before the call", "in the call", "before the event", "after the event", "rolled back", "after the commit"]


def stop_at(point: str, task_id: str = "") -> None:
    if sys.argv[1:] == [point]:
        sys.stdout.write(f"{point}: {task_id}\n")
        sys.stdout.flush()
        signal.pause()


def around_the_event(execute: Any, sql: Any, params: Any, many: bool, context: Any) -> Any:
    if "bridge.send_task" not in sql:
        return execute(sql, params, many, context)
    stop_at("before the event")
    result = execute(sql, params, many, context)
    stop_at("after the event")
    return result


def send(app: Any, number: int) -> None:
    with transaction.atomic():
        stop_at("before the call")
        result = app.tasks["sending.add"].delay(number)
        with connection.cursor() as cursor:
            cursor.execute("insert into sent values (%s)", [result.id])
        if number % 3 == 2 or sys.argv[1:] == ["rolled back"]:
            transaction.set_rollback(True)
    stop_at("rolled back", result.id)
    stop_at("after the commit", result.id)


def main() -> None:
    django.setup()
    app = shop(queue=os.environ["SENDING_WEB_QUEUE"])
    signals.before_task_publish.connect(lambda **_: stop_at("in the call"), weak=False)
    with connection.execute_wrapper(around_the_event):
        for number in itertools.count():
            send(app, number)


if __name__ == "__main__":
    main()
