"""Recording: lets Celery build the message of a task, and keeps the message instead of publishing it.

So whatever apply_async supports works here too: routers, the options of the task, `before_task_publish` with the
headers that tracing adds, the ids of a task that runs. All of it happens in the caller, at the call.
"""

from contextvars import ContextVar
from typing import Any

import kombu
from celery import Task
from celery.local import Proxy, maybe_evaluate

# The generic parameters of Task exist in the stubs only, so it is `Any` for mypy here.
_Base: Any = Task

# The task whose message is being built in this context.
_recorded: ContextVar[object] = ContextVar("bridge_recorded", default=None)


class Recording:
    """What Celery would have published. It is used as kombu's producer and as Celery's router."""

    # Celery asks the connection for its errors. It is never opened.
    connection = kombu.Connection("memory://")

    def __init__(self, app: Any) -> None:
        self._app = app
        self.body: Any = None
        self.options: dict[str, Any] = {}
        self.queue: Any = None
        """The queue that the router chose, or None."""

    def publish(self, body: Any, **options: Any) -> None:
        """Keeps the message. Celery may publish a second one, its event task-sent, which nobody needs before the
        commit."""
        if not self.options:
            self.body, self.options = body, options

    def route(self, options: Any, name: str, args: Any, kwargs: Any, task_type: Any) -> dict[str, Any]:
        """Routes as the app's router does, and keeps the queue: with an ETA, Celery may remove it again."""
        routed: dict[str, Any] = self._app.amqp.router.route(options, name, args, kwargs, task_type)
        self.queue = routed.get("queue")
        return routed


class _NoBackend:
    def on_task_call(self, producer: Any, task_id: str) -> None:
        """Does nothing. A real backend would connect, and the call must not depend on a server that may be away."""


class _App(Proxy):  # type: ignore[type-arg]  # generic in the stubs only
    """The app without its result backend, for one call of `send_task`."""

    backend = _NoBackend()

    def send_task(self, *args: Any, **options: Any) -> Any:
        app: Any = self._get_current_object()
        return type(app).send_task(self, *args, **options)


class RecordableTask(_Base):  # type: ignore[misc]
    """A task whose message can be recorded."""

    abstract = True

    @classmethod
    def _get_app(cls) -> Any:
        app = super()._get_app()
        return _App(lambda: app) if type(_recorded.get()) is cls else app


def is_recorded(task: object) -> bool:
    """Whether this very task is being recorded. Another one, which a receiver of a signal calls, is not."""
    return _recorded.get() is task


def is_recording(name: str | None) -> bool:
    """Whether this context builds a message of this task that is not published, though Celery's signals say so."""
    return getattr(_recorded.get(), "name", None) == name


def recordable(task: Any) -> Any:
    """Returns the task itself, or, if its class can't be recorded, the same task with a class that can."""
    task = maybe_evaluate(task)
    while issubclass(type(task), Proxy):  # what @shared_task returns: it finds the task of the current app
        task = task._get_current_object()
    if isinstance(task, RecordableTask):
        return task
    made = type(type(task).__name__, (RecordableTask, type(task)), {"__module__": type(task).__module__})
    twin: Any = object.__new__(made)
    twin.__dict__.update(vars(task))
    return twin


def record(task: Any, args: Any, kwargs: Any, options: dict[str, Any]) -> tuple[Recording, Any]:
    """Returns what `task.apply_async` would publish, and the result that it returns."""
    task = recordable(task)
    recording = Recording(task._get_app())
    token = _recorded.set(task)
    try:
        result = task.apply_async(args, kwargs, producer=recording, router=recording, **options)
    finally:
        _recorded.reset(token)
    return recording, result
