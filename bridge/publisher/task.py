"""Task: how Celery itself makes the message of a call, and hands it to a producer."""

import struct
from collections.abc import Mapping
from typing import Any, Protocol

from celery import Celery
from celery.exceptions import CeleryError
from kombu.exceptions import SerializationError

from bridge.call import Call

# A call that can't be expressed as a message: a queue that nobody knows, a value that the serializer or AMQP can't say.
UNSENDABLE = (SerializationError, CeleryError, TypeError, ValueError, KeyError, OverflowError, struct.error)


class Producer(Protocol):
    """The part of kombu's producer that Celery uses."""

    def publish(self, body: Any, **options: Any) -> Any:
        """Sends the body; options as in kombu.Producer.publish."""


def send(app: Celery, call: Call, producer: Producer, extra: Mapping[str, Any]) -> None:
    """What `app.send_task` does, without asking the result backend to watch for a result nobody here reads.

    Signals are sent, routers asked, the task's own options used where the watch has none.
    """
    name, args, kwargs = call.target.task, call.args, call.kwargs
    task: Any = app.tasks.get(name)
    options = {**_task_options(task), **_watch_options(call.target.options), **extra}
    ignore_result = options.pop("ignore_result", None)
    countdown, expires = options.pop("countdown", None), options.pop("expires", None)
    limits = {limit: options.pop(limit, None) for limit in ("time_limit", "soft_time_limit")}
    options = app.amqp.router.route(options, name, args, kwargs, task)
    if expires is not None:
        options["expiration"] = expires
    message = app.amqp.create_task_message(
        call.task_id,
        name,
        args,
        kwargs,
        countdown=countdown,
        expires=expires,
        **limits,
        reply_to=app.thread_oid,
        create_sent_event=app.conf.task_send_sent_event,
        ignore_result=ignore_result,
        **options,
    )
    app.amqp.send_task_message(producer, name, message, headers=dict(call.headers), retry=False, **options)


def _task_options(task: Any) -> dict[str, Any]:
    """The options set on the task itself, as `task.delay` would use them."""
    if task is None:
        return {}
    return {name: value for name, value in task._get_exec_options().items() if value is not None}


def _watch_options(options: dict[str, Any]) -> dict[str, Any]:
    return {name: options[name] for name in ("queue", "priority", "countdown", "expires") if name in options}
