"""Runs one task at once in this process, as a worker would run it, on the test's own connection."""

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from difflib import get_close_matches
from functools import partial
from itertools import count
from typing import Any

from billiard.einfo import ExceptionInfo
from celery import current_app, signals, states
from celery.app.task import Context
from celery.exceptions import Retry
from celery.utils.functional import maybe_list
from django.db import connections
from django.db.backends.base.base import BaseDatabaseWrapper

from bridge import scope, worker
from django_app.project import load_app
from django_app.testing.errors import TestingError


class DroppedError(Exception):
    """The task has ended with Celery's Ignore or Reject: it has no result, and nothing follows it."""


def project_app() -> Any:
    """Returns the project's Celery app."""
    return load_app() or current_app


def registered(name: str) -> Any:
    """Returns the task from the project's Celery app."""
    app = project_app()
    if name not in app.tasks:
        app.loader.import_default_modules()
    if name not in app.tasks:
        close = get_close_matches(name, sorted(app.tasks), 1)
        raise TestingError(
            f"No task named '{name}' is registered in the Celery app '{app.main}', so a worker would discard it. "
            + (f"Did you mean '{close[0]}'?" if close else "Correct the name, or import the task's module in the app.")
        )
    return app.tasks[name]


def run_task(
    task: Any, args: Sequence[Any], kwargs: Mapping[str, Any], options: Mapping[str, Any], passed: list[Any]
) -> Any:
    """Runs a task and returns its result; raises its own exception, after the error callbacks have run.

    `options` are those of its signature: its id, headers, relatives and error callbacks. It adds to `passed` the
    headers that the worker's integration would give to the tasks that follow.
    """
    __tracebackhide__ = True
    headers = options.get("headers") or {}
    relatives = {name: options.get(name) for name in ("root_id", "parent_id", "group_index")}
    relatives = {name: value for name, value in relatives.items() if value is not None}
    with _request(
        task, options["task_id"], headers | relatives | {"group": options.get("group_id")}, passed
    ) as requests:
        try:
            with _savepoints():
                return _result(task, args, kwargs, options)
        except (TestingError, DroppedError):
            raise
        except Exception as error:
            if requests:
                with scope.Scope(_context_in(passed[-1])):
                    _fail(task, requests[-1], error, options.get("link_error"))
            raise


def call_error_callbacks(app: Any, body: Any, error: Exception) -> None:
    """Runs the error callbacks of a chord's body, which does not run, since a task of the header has failed."""
    request = Context(body, id=body.options.get("task_id"), delivery_info={"is_eager": True})
    try:
        _mark(app.backend, request, error, None, body.options.get("link_error"))
    except Exception as another:
        (error.__cause__ or error).add_note(f"After this, an error callback of the chord failed: {another!r}")


def _result(task: Any, args: Any, kwargs: Any, options: Mapping[str, Any]) -> Any:
    """Returns what the task returns at last: a retry runs at once."""
    __tracebackhide__ = True
    known = {name: options[name] for name in ("headers", "priority", "ignore_result") if name in options}
    apply = partial(task.apply, args, kwargs, task_id=options["task_id"], **known)
    for retries in count(options.get("retries") or 0):
        try:
            found = apply(retries=retries, throw=True)
        except Retry as again:
            signature = getattr(again, "sig", None)
            if signature is None:
                raise
            task.on_retry(again.exc, options["task_id"], args, kwargs, ExceptionInfo())
            apply = signature.apply
        else:
            if found.state in (states.IGNORED, states.REJECTED):
                raise DroppedError
            return found.get(disable_sync_subtasks=False)
    return None


def _fail(task: Any, request: Any, error: Exception, errbacks: Any) -> None:
    """Does what a worker does after a task has failed. With `throw`, Celery's `apply` leaves it out."""
    try:
        _mark(task.backend, request, error, ExceptionInfo().traceback, errbacks)
        args, kwargs, einfo = request.args, request.kwargs, ExceptionInfo()
        with _savepoints():
            task.on_failure(error, request.id, args, kwargs, einfo)
            known = {"task_id": request.id, "exception": error, "args": args, "kwargs": kwargs, "einfo": einfo}
            signals.task_failure.send(sender=task, traceback=error.__traceback__, **known)
            task.after_return(states.FAILURE, error, request.id, args, kwargs, None)
    except Exception as another:
        error.add_note(f"After this, the task's error handler failed: {another!r}")


def _mark(backend: Any, request: Any, error: Exception, traceback: Any, errbacks: Any) -> None:
    """Lets Celery call the error callbacks, each in the way that its signature asks for."""
    request.errbacks = maybe_list(errbacks)
    with _savepoints():
        backend.mark_as_failure(request.id, error, traceback, request=request, store_result=False)


def _context_in(headers: Mapping[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(headers.get(worker.PASSED) or "{}")
    return found


@contextmanager
def _request(task: Any, task_id: str, values: Mapping[str, Any], passed: list[Any]) -> Iterator[list[Any]]:
    """Makes each value an attribute of `task.request`, as in a worker. `apply` has only `request.headers`.

    Gives a list, to which each request of the task is added.
    """
    requests: list[Any] = []

    def enrich(task_id: str = task_id, **_: Any) -> None:
        if task_id == expected:
            task.request.update(values)
            requests.append(task.request)
            headers: dict[str, Any] = {}
            worker.pass_on(headers=headers)
            passed.append(headers)

    expected = task_id
    signals.task_prerun.connect(enrich, sender=task, weak=False)
    try:
        yield requests
    finally:
        signals.task_prerun.disconnect(enrich, sender=task)


@contextmanager
def _savepoints() -> Iterator[None]:
    """Makes a savepoint in each database whose transaction the test has opened: a task may write to all of them."""
    with ExitStack() as stack:
        for connection in connections.all(initialized_only=True):
            stack.enter_context(_savepoint(connection))
        yield


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
    finally:
        if connection.needs_rollback or _is_refused(connection):
            connection.needs_rollback = False
            connection.savepoint_rollback(savepoint)
        else:
            connection.savepoint_commit(savepoint)


def _is_refused(connection: BaseDatabaseWrapper) -> bool:
    """Returns whether PostgreSQL refuses to go on with the transaction. Other databases go on after an error."""
    raw: Any = connection.connection
    is_postgres = connection.vendor == "postgresql" and raw is not None
    return is_postgres and raw.info.transaction_status.name == "INERROR"
