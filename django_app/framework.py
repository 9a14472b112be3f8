"""A backend for Django's tasks framework (Django 6): tasks are sent in the transaction, and Celery workers run them.

    TASKS = {"default": {"BACKEND": "django_app.tasks.BridgeBackend"}}

Each of Django's tasks becomes a task of Celery with the name of its function ("shop.tasks.mail"), so that `migrate`
allows it, routes and time limits of the Celery app apply to it, and nothing but a declared task can be started.
"""

from collections.abc import Callable
from datetime import UTC, datetime
from functools import cached_property
from traceback import format_exception
from typing import Any
from uuid import uuid4

from celery import shared_task, states
from celery.app import app_or_default
from celery.backends.base import DisabledBackend
from celery.exceptions import Ignore, Reject, Retry
from django.tasks import DEFAULT_TASK_QUEUE_NAME, Task, TaskContext, TaskResult, TaskResultStatus
from django.tasks.backends.base import BaseTaskBackend
from django.tasks.base import TaskError
from django.tasks.exceptions import TaskResultDoesNotExist
from django.tasks.signals import task_enqueued, task_finished, task_started
from django.utils import timezone
from django.utils.json import normalize_json

from django_app.celery import apply_async_in_transaction

# Django's priorities are -100 to 100, those of Celery's brokers 0 to 9.
_LOWEST, _STEPS = -100, 9
_HEADER = "enqueued_at"
_STATUS = {
    states.SUCCESS: TaskResultStatus.SUCCESSFUL,
    states.FAILURE: TaskResultStatus.FAILED,
    states.REVOKED: TaskResultStatus.FAILED,
    states.RETRY: TaskResultStatus.READY,
}


# The tasks of all backends by their names, as Celery has them. Tests replace backends, but tasks stay.
_known: dict[str, "Task[..., Any]"] = {}


class SentResult(TaskResult):  # type: ignore[type-arg]  # generic in the stubs only
    """The result that `enqueue` returns. Celery keeps nothing of a task before a worker has it, so it stays READY."""

    def refresh(self) -> None:
        try:
            TaskResult.refresh(self)
        except TaskResultDoesNotExist:
            return

    async def arefresh(self) -> None:
        try:
            await TaskResult.arefresh(self)
        except TaskResultDoesNotExist:
            return


class BridgeBackend(BaseTaskBackend):
    """OPTIONS may have `queues`, a dict of Celery's names for Django's queues. The queue "default" is the app's own."""

    supports_defer = True
    supports_async_task = True
    supports_priority = True

    def __init__(self, alias: str, params: dict[str, Any]) -> None:
        super().__init__(alias, params)
        self._queues = {DEFAULT_TASK_QUEUE_NAME: None, **self.options.get("queues", {})}
        self._known: dict[str, Task[..., Any]] = {}

    @property
    def supports_get_result(self) -> bool:  # type: ignore[override]  # Django has a constant here
        """Whether the app has a result backend that keeps the names and arguments of tasks (result_extended)."""
        app = self._app
        return not isinstance(app.backend, DisabledBackend) and bool(app.conf.result_extended)

    @property
    def _app(self) -> Any:
        return app_or_default()

    @cached_property
    def _counts_down(self) -> bool:
        """Whether the lowest number is the most urgent: Redis pops its queues in this order."""
        return bool(self._app.connection_for_write().transport.driver_type == "redis")

    def validate_task(self, task: "Task[..., Any]") -> None:
        """Also registers the task with Celery: Django validates each task when its module is imported."""
        super().validate_task(task)
        if task.module_path not in _known:
            _known[task.module_path] = task
            shared_task(bind=True, name=task.module_path, typing=False)(_runner(task))

    def enqueue(self, task: "Task[..., Any]", args: Any, kwargs: Any) -> Any:
        """Sends the task as part of the transaction or, if there is none, with a commit of its own."""
        self.validate_task(task)
        now = timezone.now()
        result = _result(task, str(uuid4()), args, kwargs, backend=self.alias)
        options: dict[str, Any] = {"task_id": result.id, "priority": self._priority(task.priority)}
        if task.run_after is not None:
            options["eta"] = task.run_after if task.run_after.tzinfo else timezone.make_aware(task.run_after)
        if (queue := self._queues.get(task.queue_name, task.queue_name)) is not None:
            options["queue"] = queue
        called = self._app.tasks[task.module_path]
        _set(result, enqueued_at=now)
        apply_async_in_transaction(called, result.args, result.kwargs, headers={_HEADER: now.isoformat()}, **options)
        task_enqueued.send(type(self), task_result=result)
        return result

    def get_result(self, result_id: str) -> "TaskResult[..., Any]":
        """Reads Celery's result backend. A task that no worker has begun is not in it, so it does not exist."""
        if not self.supports_get_result:
            raise NotImplementedError(
                "This needs a result backend of Celery that keeps names and arguments: set CELERY_RESULT_BACKEND, and "
                "CELERY_RESULT_EXTENDED = True."
            )
        meta = self._app.backend.get_task_meta(result_id)
        task = _known.get(meta.get("name") or "")
        if task is None:
            raise TaskResultDoesNotExist(result_id)
        status = _STATUS.get(meta["status"], TaskResultStatus.RUNNING)
        result = _result(task, result_id, meta["args"] or [], meta["kwargs"] or {}, backend=self.alias)
        workers = [str(meta.get("worker"))] * ((meta.get("retries") or 0) + 1)
        _set(result, status=status, worker_ids=workers)
        if status in (TaskResultStatus.SUCCESSFUL, TaskResultStatus.FAILED):
            _set(result, finished_at=_moment(meta.get("date_done")))
        if status == TaskResultStatus.SUCCESSFUL:
            _set(result, _return_value=meta["result"])
        elif status == TaskResultStatus.FAILED:
            result.errors.append(
                TaskError(exception_class_path=_path(meta["result"]), traceback=meta["traceback"] or "")
            )
        return result

    def _priority(self, priority: int) -> int:
        level = round((priority - _LOWEST) * _STEPS / 200)
        return _STEPS - level if self._counts_down else level


def _runner(task: "Task[..., Any]") -> Callable[..., Any]:
    """Returns what a worker runs for this task."""

    def run(celery_task: Any, /, *args: Any, **kwargs: Any) -> Any:
        backend, request, now = task.get_backend(), celery_task.request, timezone.now()
        result = _result(task, request.id, list(args), kwargs, backend=backend.alias)
        enqueued_at = _moment((request.headers or {}).get(_HEADER))
        _set(result, status=TaskResultStatus.RUNNING, enqueued_at=enqueued_at, started_at=now, last_attempted_at=now)
        result.worker_ids.extend([str(request.hostname)] * (request.retries + 1))
        task_started.send(type(backend), task_result=result)
        given = (TaskContext(task_result=result), *args) if task.takes_context else args
        try:
            value = normalize_json(task.call(*given, **kwargs))
        except (KeyboardInterrupt, Ignore, Reject, Retry):
            raise  # the end of the worker, and what Celery's own calls raise on purpose
        except BaseException as error:
            trace = "".join(format_exception(error))
            result.errors.append(TaskError(exception_class_path=_path(error), traceback=trace))
            _set(result, status=TaskResultStatus.FAILED, finished_at=timezone.now())
            task_finished.send(type(backend), task_result=result)
            if not isinstance(error, SystemExit):
                raise
            # Celery would end the worker.
            raise RuntimeError(f"the task called sys.exit({error.code!r})") from error
        _set(result, status=TaskResultStatus.SUCCESSFUL, finished_at=timezone.now(), _return_value=value)
        task_finished.send(type(backend), task_result=result)
        return value

    run.__name__, run.__module__, run.__doc__ = task.name, task.func.__module__, task.func.__doc__
    return run


def _result(task: Any, result_id: str, args: Any, kwargs: Any, backend: str) -> "TaskResult[..., Any]":
    return SentResult(
        task=task,
        id=result_id,
        status=TaskResultStatus.READY,
        enqueued_at=None,
        started_at=None,
        finished_at=None,
        last_attempted_at=None,
        args=args,
        kwargs=kwargs,
        backend=backend,
        errors=[],
        worker_ids=[],
    )


def _set(result: "TaskResult[..., Any]", **values: Any) -> None:
    """Sets attributes of a result, which is frozen for everybody but its backend."""
    for name, value in values.items():
        object.__setattr__(result, name, value)


def _path(error: object) -> str:
    kind = type(error)
    return f"{kind.__module__}.{kind.__qualname__}"


def _moment(value: Any) -> datetime | None:
    if value is None:
        return None
    moment = value if isinstance(value, datetime) else datetime.fromisoformat(str(value))
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
