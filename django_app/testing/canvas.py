"""Canvas: runs a call and all that Celery lets follow it: callbacks, error callbacks, chains, groups and chords.

A worker sends each next task to the broker. Here each runs at once, in the order in which a worker would send them.
"""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

import msgspec
from celery.exceptions import ChordError
from celery.utils import uuid
from celery.utils.functional import maybe_list
from kombu.serialization import dumps, loads
from kombu.utils import json

from bridge import scope
from bridge.call import Call
from django_app.testing.chords import Chords, parts_of
from django_app.testing.eager import DroppedError, call_error_callbacks, project_app, registered, run_task
from django_app.testing.errors import TestingError

_UNLOCK = "celery.chord_unlock"


class _StoppedError(Exception):
    """A task has failed or was dropped, so nothing more follows it."""

    def __init__(self, cause: Exception | None, is_known: bool = True) -> None:
        super().__init__()
        self.cause = cause
        self.is_known = is_known
        """Whether a chord that waits for the value learns of it. It does not if a chord in its header has failed."""


def signature_of(call: Call) -> dict[str, Any]:
    """Returns the call as a signature, which also has what follows the task.

    The arguments and headers have gone through JSON. Celery's JSON has forms for dates, decimals and others, which a
    worker turns into Python's values.
    """
    args, kwargs, headers = json.loads(msgspec.json.encode((call.args, call.kwargs, call.headers)))
    options = {"task_id": call.task_id, "headers": headers, "priority": call.target.options.get("priority")}
    if call.message is not None:
        said, embed = call.message.protocol, call.message.embed
        options |= {
            name: getattr(said, name) for name in ("root_id", "parent_id", "group_index", "retries", "priority")
        }
        options |= {"group_id": said.group, "chain": embed.get("chain"), "chord": embed.get("chord")}
        options |= {"link": embed.get("callbacks"), "link_error": embed.get("errbacks")}
        options |= {"ignore_result": said.ignore_result}
    return {"task": call.target.task, "args": args, "kwargs": kwargs, "options": options, "immutable": True}


def run(call: Call, chords: Chords) -> Any:
    """Runs the task of a call, and what follows it; returns the task's result.

    Raises the exception of the first task that has failed, after everything that a worker would run nevertheless.
    """
    __tracebackhide__ = True
    if call.target.task == _UNLOCK:
        return None  # it would ask the result backend whether the tasks of the chord have run
    following = _Following(project_app(), chords)
    before = scope.replaced(())  # a worker knows nothing of what the test acts for
    try:
        following.run(signature_of(call))
    finally:
        scope.replaced(before)
    if following.errors:
        first, *others = following.errors
        for other in others:
            first.add_note(f"Another task that follows has failed too: {other!r}")
        raise first
    return following.result


class _Following:
    """One run of a call."""

    def __init__(self, app: Any, chords: Chords) -> None:
        self._app = app
        self._chords = chords
        self._root: str | None = None
        self._parent: str | None = None
        self._passed: list[dict[str, Any]] = [{}]
        self.errors: list[Exception] = []
        self.result: Any = None
        """The result of the first task."""

    def run(self, signature: Mapping[str, Any], given: Sequence[Any] = ()) -> None:
        """Runs a signature. If a chord waits for its value, and for no other any more, it runs the chord's body."""
        __tracebackhide__ = True
        value, error = None, None
        try:
            value = self._value(signature, given)
        except _StoppedError as stopped:
            if not stopped.is_known:
                return
            error = stopped.cause
        self._return(signature, value, error)

    def _return(self, signature: Mapping[str, Any], value: Any, error: Exception | None) -> None:
        __tracebackhide__ = True
        for part in parts_of(signature):
            outcome = self._chords.returned(part, value, error)
            if isinstance(outcome, list):
                self.run(part.body, (outcome,))
            elif outcome is not None:
                self._refuse(part.body, part.id, outcome)
                if part.body.get("options", {}).get("chain"):  # Celery fails the rest of a chain, and nothing else
                    self._return(part.body, None, outcome)

    def _value(self, given_signature: Any, given: Sequence[Any] = (), errbacks: Sequence[Any] = ()) -> Any:
        """Runs a signature with the given first arguments, then its callbacks and the rest of its chain."""
        __tracebackhide__ = True
        signature = self._app.signature(given_signature)
        options = signature.options
        errbacks = [*errbacks, *(maybe_list(options.get("link_error")) or [])]
        match signature.get("subtask_type"):
            case "group":
                value: Any = self._group(signature.tasks, given, errbacks)
            case "chain":
                value = self._chain(signature.tasks, given, errbacks)
            case "chord":
                value = self._chord(signature, given, errbacks)
            case _:
                value = self._task(signature, given, errbacks)
        for callback in maybe_list(options.get("link")) or []:
            with suppress(_StoppedError):  # a worker has sent the next task already
                self._value(callback, (value,))
        for place, step in reversed(list(enumerate(options.get("chain") or []))):
            value = self._step(place > 0, step, (value,))
        return value

    def _group(self, tasks: Any, given: Sequence[Any], errbacks: Sequence[Any]) -> list[Any]:
        __tracebackhide__ = True
        values, stopped = [], None
        for task in getattr(tasks, "tasks", tasks):
            try:
                values.append(self._value(task, given, errbacks))
            except _StoppedError as error:
                stopped = error if stopped is None or not error.is_known else stopped
        if stopped is not None:
            raise stopped
        return values

    def _chain(self, tasks: Sequence[Any], given: Sequence[Any], errbacks: Sequence[Any]) -> Any:
        __tracebackhide__ = True
        value = None
        for place, task in enumerate(tasks, 1):
            value = self._step(place < len(tasks), task, given, errbacks)
            given = (value,)
        return value

    def _step(self, has_rest: bool, *arguments: Any) -> Any:
        """Runs a step of a chain. If it fails, Celery fails the rest of the chain, and the chord learns of that."""
        __tracebackhide__ = True
        try:
            return self._value(*arguments)
        except _StoppedError as stopped:
            raise _StoppedError(stopped.cause, stopped.is_known or (has_rest and stopped.cause is not None)) from None

    def _chord(self, chord: Any, given: Sequence[Any], errbacks: Sequence[Any]) -> Any:
        __tracebackhide__ = True
        try:
            values = self._group(chord.tasks, given, ())
        except _StoppedError as stopped:
            if stopped.is_known and stopped.cause is not None:
                self._refuse(chord.body, self._parent, stopped.cause)
            raise _StoppedError(stopped.cause, is_known=False) from None
        return self._value(chord.body, (values,), errbacks)

    def _refuse(self, body: Any, task_id: object, error: Exception) -> None:
        complaint = ChordError(f"Dependency {task_id} raised {error!r}")
        complaint.__cause__ = error
        call_error_callbacks(self._app, self._app.signature(body), complaint)

    def _task(self, signature: Any, given: Sequence[Any], errbacks: Sequence[Any]) -> Any:
        __tracebackhide__ = True
        options: dict[str, Any] = {"task_id": uuid(), "root_id": self._root, "parent_id": self._parent}
        options |= {name: value for name, value in signature.options.items() if value is not None}
        options["headers"] = self._passed[-1] | (options.get("headers") or {})
        options["link_error"] = list(errbacks)
        task = registered(signature.task)
        is_first, self._root, self._parent = self._root is None, options["root_id"] or options["task_id"], None
        try:
            args, kwargs = self._arguments(signature, given)
            value = run_task(task, args, kwargs, options, self._passed)
        except TestingError:
            raise
        except DroppedError:
            raise _StoppedError(None, is_known=False) from None
        except Exception as error:
            self.errors.append(error)
            raise _StoppedError(error) from error
        finally:
            self._parent = options["task_id"]
        if is_first:
            self.result = value
        return value

    def _arguments(self, signature: Any, given: Sequence[Any]) -> tuple[Any, Any]:
        """Returns the arguments as the message of a next task has them: a tuple is a list in JSON."""
        if not given:
            return signature.args, signature.kwargs
        args = signature.args if signature.immutable else (*given, *signature.args)
        content_type, encoding, body = dumps((args, signature.kwargs), self._app.conf.task_serializer)
        found: tuple[Any, Any] = loads(body, content_type, encoding, accept={content_type})
        return found
