"""Worker: in a Celery worker, the event that started a task is the context of what the task writes.

Each event then says which task wrote it, for which row, and how many tasks led to it; so chains can be followed, loops
end, and `own_writes = "ignore"` works. The Django app calls `install` by itself. Another worker calls it once, in the
module of its Celery app, and writes inside `bridge.transaction.in_context(connection)`.
"""

import logging
from contextvars import ContextVar
from typing import Any

import msgspec
from celery import signals

from bridge import chain, scope

logger = logging.getLogger(__name__)

# What was open before each task that runs now. A task that calls another one eagerly has it inside its own.
_before: ContextVar[tuple[tuple[str, Any], ...]] = ContextVar("bridge_tasks", default=())


def install() -> None:
    """Turns the integration on in this process. It does nothing outside of tasks."""
    signals.task_prerun.connect(_enter, weak=False, dispatch_uid="bridge.enter")
    signals.task_postrun.connect(_leave, weak=False, dispatch_uid="bridge.leave")


def uninstall() -> None:
    """Turns the integration off again."""
    signals.task_prerun.disconnect(_enter, dispatch_uid="bridge.enter")
    signals.task_postrun.disconnect(_leave, dispatch_uid="bridge.leave")


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


def _layer(task: Any, task_id: str, args: Any) -> dict[str, Any]:
    """Returns the task's context. Anybody who may publish can forge a header, so nothing here may fail the task."""
    header = task.request.get("bridge") or (task.request.get("headers") or {}).get("bridge")
    try:
        values = chain.task_context(task.name, task_id, header, chain.key_of(header, args))
        plain: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(values))
    except (TypeError, ValueError, RecursionError) as error:
        logger.warning("a task's header can't be its context", extra={"task": task.name, "reason": str(error)})
        return {"task": task.name, "task_id": task_id}
    return plain
