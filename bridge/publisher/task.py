"""Task: sends a call by Celery's own `send_task`, with a producer of ours."""

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
        """Sends the body. The options are those of kombu.Producer.publish."""


class Router(Protocol):
    """The part of Celery's router that Celery uses."""

    def route(self, options: Any, name: str, args: Any, kwargs: Any, task_type: Any) -> dict[str, Any]:
        """Returns the options, with the queue or the exchange that they lead to."""


def send(app: Celery, call: Call, producer: Producer, extra: Mapping[str, Any], router: Router | None = None) -> None:
    """Sends a call as `task.apply_async` does or, if the app has no such task, as `app.send_task` does.

    Celery sends its signals and asks its routers. The options of the task itself apply where the watch has none.
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
        """Does nothing. A real backend would subscribe to each task's result and never end the subscription."""


@dataclass
class _Unread:
    """Takes the place of a result, which the bridge never reads."""

    id: str
    ignored: bool | None = None


class _Resultless(Proxy):  # type: ignore[type-arg]  # generic in the stubs only
    """The app without its result backend. The app's own backend is unchanged for the receivers of Celery's signals."""

    backend = _NoBackend()


def _task_options(task: Any) -> dict[str, Any]:
    """Returns the options set on the task itself, as `task.delay` would use them."""
    if task is None:
        return {}
    return {name: value for name, value in task._get_exec_options().items() if value is not None}


def _watch_options(options: dict[str, Any]) -> dict[str, Any]:
    return {name: options[name] for name in ("queue", "priority", "countdown", "expires") if name in options}
