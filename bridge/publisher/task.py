"""Task: a call sent by Celery's own `send_task`, with a producer of ours."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import kombu
from celery import Celery
from celery.local import Proxy

from bridge.call import Call


class Producer(Protocol):
    """The part of kombu's producer that Celery uses."""

    connection: kombu.Connection

    def publish(self, body: Any, **options: Any) -> Any:
        """Sends the body; options as in kombu.Producer.publish."""


class Router(Protocol):
    """The part of Celery's router that Celery uses."""

    def route(self, options: Any, name: str, args: Any, kwargs: Any, task_type: Any) -> dict[str, Any]:
        """The options, with the queue or the exchange that they lead to."""


def send(app: Celery, call: Call, producer: Producer, extra: Mapping[str, Any], router: Router | None = None) -> None:
    """As `task.apply_async` does, or where the app has no such task, `app.send_task`.

    Signals are sent, routers asked, the task's own options used where the watch has none.
    """
    name = call.target.task
    task: Any = app.tasks.get(name)
    options = {**_task_options(task), **_watch_options(call.target.options), **extra}
    own: Any = type(app)
    own.send_task(
        _Resultless(lambda: app),
        name,
        call.args,
        call.kwargs,
        task_id=call.task_id,
        producer=producer,
        router=router,
        task_type=task,
        headers=dict(call.headers),
        retry=False,
        result_cls=_Unread,
        add_to_parent=False,
        **options,
    )


class _NoBackend:
    def on_task_call(self, producer: Any, task_id: str) -> None:
        """Subscribes to nothing: one subscription a message would never be given up."""


@dataclass
class _Unread:
    """In the place of a result, which nobody here reads."""

    id: str
    ignored: bool | None = None


class _Resultless(Proxy):  # type: ignore[type-arg]  # generic in the stubs only
    """The app itself in all but its result backend; the app's own stays as it is for receivers of Celery's signals."""

    backend = _NoBackend()


def _task_options(task: Any) -> dict[str, Any]:
    """The options set on the task itself, as `task.delay` would use them."""
    if task is None:
        return {}
    return {name: value for name, value in task._get_exec_options().items() if value is not None}


def _watch_options(options: dict[str, Any]) -> dict[str, Any]:
    return {name: options[name] for name in ("queue", "priority", "countdown", "expires") if name in options}
