"""Receiver: hears each task that Celery publishes in this process, and notes those of shadow watches."""

import logging
from collections.abc import Callable, Mapping
from typing import Any

from celery import current_app
from celery.signals import after_task_publish

from bridge.errors import BridgeError
from bridge.publisher.template import SHADOW_RECEIVER
from django_app.declarations import registry
from django_app.declarations.declaration import Declaration
from django_app.sending.recording import is_recording
from django_app.shadow.publish import publish_of
from django_app.shadow.recorder import note

logger = logging.getLogger(__name__)

_names: dict[Any, str] = {}


def install() -> None:
    """Connects the receiver, once, however often it is called."""
    after_task_publish.connect(_published, weak=False, dispatch_uid=SHADOW_RECEIVER)


def _published(sender: str | None = None, headers: Mapping[str, Any] | None = None, body: Any = None, **_: Any) -> None:
    """Never raises an error: the task is published already, and its caller must not see a failure."""
    try:
        # Celery's first protocol has all of it in the body.
        known = {**(body if isinstance(body, Mapping) else {}), **(headers or {})}
        # What the bridge publishes, and a retry of a task that runs, do not count as a dispatch. A task that is sent in
        # a transaction is in the log, where the report finds it.
        if "bridge" in known or known.get("retries") or is_recording(sender):
            return
        for using in _homes(sender):
            args, kwargs = (body["args"], body["kwargs"]) if isinstance(body, Mapping) else body[:2]
            note(publish_of(using, str(sender), _function(str(sender)), args, kwargs))
    except Exception as error:
        logger.debug("shadow mode could not note a publish: %s", error)


def _homes(task: str | None) -> set[str]:
    """Returns the databases that have a shadow watch of this task."""
    return {declaration.home for declaration in registry.shadowed() if task and _name(declaration) == task}


def _function(name: str) -> Callable[..., Any] | None:
    """Returns the function of a task, for the order of its parameters; None if this process does not know it."""
    return getattr(current_app.tasks.get(name), "run", None)


def _name(declaration: Declaration) -> str | None:
    """Returns the name of the declared task, or None if it is none (yet). The system checks report that."""
    if not isinstance(declaration.task, str) and declaration.task in _names:
        return _names[declaration.task]
    try:
        name = declaration.task_name()
    except BridgeError:
        return None
    if not isinstance(declaration.task, str):
        _names[declaration.task] = name  # the task of a bare function has to be looked for
    return name
