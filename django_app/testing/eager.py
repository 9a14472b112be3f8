"""Runs one task at once in this process, as a worker would run it, on the test's own connection."""

from collections.abc import Iterator
from contextlib import contextmanager
from difflib import get_close_matches
from functools import partial
from itertools import count
from typing import Any

import msgspec
from celery import current_app, signals
from celery.exceptions import Retry
from django.db import connections
from django.db.backends.base.base import BaseDatabaseWrapper
from kombu.utils import json

from bridge.call import Call
from django_app.project import load_app
from django_app.testing.errors import TestingError


def run(call: Call, using: str) -> Any:
    """Runs the task of a call and returns its result; raises the task's own exception.

    The task gets what a worker would get: JSON, and the call's headers in `self.request`.
    """
    __tracebackhide__ = True
    task = _registered(call.target.task)
    # Celery's JSON has forms for dates, decimals and others, which a worker turns into Python's values.
    args, kwargs, headers = json.loads(msgspec.json.encode((call.args, call.kwargs, call.headers)))
    with _request(task, call.task_id, headers), _savepoint(connections[using]):
        priority = call.target.options.get("priority")
        apply = partial(task.apply, args, kwargs, task_id=call.task_id, headers=headers, priority=priority)
        for retries in count():
            try:
                value = apply(retries=retries, throw=True).get(disable_sync_subtasks=False)
            except Retry as again:  # the task is run again at once
                signature = getattr(again, "sig", None)
                if signature is None:
                    raise
                apply = signature.apply
            else:
                _go_on(call, value, task.app)
                return value
        return None


def _go_on(call: Call, value: Any, app: Any) -> None:
    """Runs what follows a task that was called in a transaction: its callbacks, and the rest of its chain."""
    __tracebackhide__ = True
    embed = call.message.embed if call.message else {}
    for callback in embed.get("callbacks") or []:
        app.signature(callback).apply((value,), throw=True)
    for step in reversed(embed.get("chain") or []):
        value = app.signature(step).apply((value,), throw=True).get(disable_sync_subtasks=False)


def _registered(name: str) -> Any:
    """Returns the task from the project's Celery app."""
    app: Any = load_app() or current_app
    if name not in app.tasks:
        app.loader.import_default_modules()
    if name not in app.tasks:
        close = get_close_matches(name, sorted(app.tasks), 1)
        raise TestingError(
            f"No task named '{name}' is registered in the Celery app '{app.main}', so a worker would discard it. "
            + (f"Did you mean '{close[0]}'?" if close else "Correct the name, or import the task's module in the app.")
        )
    return app.tasks[name]


@contextmanager
def _request(task: Any, task_id: str, headers: dict[str, Any]) -> Iterator[None]:
    """Makes each header an attribute of `task.request`, as in a worker. `apply` has only `request.headers`."""

    def enrich(task_id: str = task_id, **_: Any) -> None:
        if task_id == expected:
            task.request.update(headers)

    expected = task_id
    signals.task_prerun.connect(enrich, sender=task, weak=False)
    try:
        yield
    finally:
        signals.task_prerun.disconnect(enrich, sender=task)


@contextmanager
def _savepoint(connection: BaseDatabaseWrapper) -> Iterator[None]:
    """Keeps the transaction of the test usable when a task fails with an error of the database.

    A worker has no transaction around a task. So what a task wrote before it failed stays, unless PostgreSQL refuses to
    go on with the transaction. This is not an atomic() block, since the task may need `durable=True`.
    """
    if not connection.in_atomic_block or connection.needs_rollback:
        yield
        return
    savepoint = connection.savepoint() or ""
    try:
        yield
    except BaseException:
        raw: Any = connection.connection
        if connection.needs_rollback or (raw is not None and raw.info.transaction_status.name == "INERROR"):
            connection.needs_rollback = False
            connection.savepoint_rollback(savepoint)
        raise
    connection.savepoint_commit(savepoint)
