"""Worker: in a Celery worker, the event that started a task is the context of what the task writes.

Each event then says which task wrote it, for which row, and how many tasks led to it; so chains can be followed, loops
end, and `own_writes = "ignore"` works. The Django app calls `install` by itself. Another worker calls it once, in the
module of its Celery app, and writes inside `bridge.transaction.in_context(connection)`.
"""

import json
import logging
from contextvars import ContextVar
from typing import Any

import msgspec
from celery import signals

from bridge import chain, scope

PASSED = "bridge_context"
"""The header by which the context of a task reaches the tasks that it calls with Celery's own means.

It is a text, since a broker's table can't hold every JSON value.
"""
_LONGEST = 10_000
_UNLOCK = "celery.chord_unlock"  # starts the body of a chord; it has a countdown of its own

logger = logging.getLogger(__name__)

# What was open before each task that runs now. A task that calls another one eagerly has it inside its own.
_before: ContextVar[tuple[tuple[str, Any], ...]] = ContextVar("bridge_tasks", default=())


def install() -> None:
    """Turns the integration on in this process. It does nothing outside of tasks."""
    signals.task_prerun.connect(_enter, weak=False, dispatch_uid="bridge.enter")
    signals.task_postrun.connect(_leave, weak=False, dispatch_uid="bridge.leave")
    signals.before_task_publish.connect(pass_on, weak=False, dispatch_uid="bridge.pass_on")


def uninstall() -> None:
    """Turns the integration off again."""
    signals.task_prerun.disconnect(_enter, dispatch_uid="bridge.enter")
    signals.task_postrun.disconnect(_leave, dispatch_uid="bridge.leave")
    signals.before_task_publish.disconnect(pass_on, dispatch_uid="bridge.pass_on")


def _enter(task_id: str, task: Any, args: Any = (), **_: Any) -> None:
    layer = _layer(task, task_id, args)
    if not task.request.is_eager:
        # Whatever an earlier task of this thread has left open ends here.
        scope.replaced(())
        _before.set(())
    _before.set((*_before.get(), (task_id, scope.replaced((*scope.opened(), layer)))))


def _leave(task_id: str, **_: Any) -> None:
    running = _before.get()
    for place in range(len(running) - 1, -1, -1):
        if running[place][0] == task_id:
            scope.replaced(running[place][1])
            _before.set(running[:place])
            return


def pass_on(headers: Any = None, **_: Any) -> None:
    """Gives a task that a running task calls (also a callback, or the next one of a chain) the context of its caller.

    Otherwise a circle through such a task would never end. A call for later, with an ETA, begins anew: it is meant to
    come back, as a job that plans its next run does.
    """
    if not _before.get() or not isinstance(headers, dict) or "bridge" in headers:
        return
    if headers.get("eta") and headers.get("task") != _UNLOCK:
        return
    text = scope.as_setting()
    if len(text) > _LONGEST:  # a broker limits the size of headers, and the caller must not fail
        text = json.dumps({name: value for name, value in scope.current().items() if name in ("depth", "chain")})
    headers[PASSED] = text


def _passed(request: Any) -> Any:
    """Returns a header like `bridge` from what the caller of this task has passed on; None if nothing was."""
    text = request.get(PASSED) or (request.get("headers") or {}).get(PASSED)
    if not isinstance(text, str):
        return None
    try:
        context = msgspec.json.decode(text)
    except (ValueError, RecursionError):
        return None
    return {"operation": "send", "id": chain.cause_of(context), "context": context}


def _layer(task: Any, task_id: str, args: Any) -> dict[str, Any]:
    """Returns the task's context. Anybody who may publish can forge a header, so nothing here may fail the task."""
    request = task.request
    header = request.get("bridge") or (request.get("headers") or {}).get("bridge") or _passed(request)
    try:
        values = chain.task_context(task.name, task_id, header, chain.key_of(header, args))
        plain: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(values))
    except (TypeError, ValueError, RecursionError) as error:
        logger.warning("a task's header can't be its context", extra={"task": task.name, "reason": str(error)})
        return {"task": task.name, "task_id": task_id}
    return plain
