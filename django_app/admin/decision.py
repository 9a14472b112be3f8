"""Decision: what a person does about dead letters. The functions of triggers.sql check everything again."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from django.contrib.admin.models import CHANGE, DELETION, LogEntry
from django.db import DatabaseError, connections, transaction
from django.http import HttpRequest

from bridge.canvas import CanvasError
from bridge.database.statement import statement
from bridge.message import is_message, read
from django_app.admin.rights import Needs
from django_app.admin.shown import shown
from django_app.database import sentence
from django_app.models import DeadLetter, Watch

Kind = Literal["retry", "discard"]

NEEDS: dict[str, Needs] = {
    "retry": Needs(functions=("retry",)),
    "discard": Needs(functions=("discard",)),
    "edit": Needs(functions=("discard", "send")),
    "edit_message": Needs(functions=("discard", "send_task")),
}
CHUNK = 1000
_SETTLE: dict[Kind, str] = {
    "retry": statement("retry_dead_letters", "django_app"),
    "discard": statement("discard_dead_letters", "django_app"),
}
_SEND = statement("send_task", "django_app")
_SEND_MESSAGE = statement("send_message", "django_app")
_CONTEXT = statement("add_context", "django_app")
# The options of a watch that say how its task is sent. The others are about capture.
_SENT_OPTIONS = ("queue", "priority", "countdown", "expires", "headers")


class DecisionError(Exception):
    """Says why nothing was done."""


@dataclass(frozen=True)
class Arguments:
    """The call of a dead letter: what a person may edit, and what stays."""

    task: str
    args: list[Any]
    kwargs: dict[str, Any]
    options: dict[str, Any]
    message: dict[str, Any] | None = None
    """What Celery has said about a task that was called in a transaction, with the task's id."""


def arguments(letter: DeadLetter) -> Arguments | None:
    """Returns the call of a dead letter; None if its watch is gone or its arguments can't be read."""
    if letter.op == "send":
        sent = letter.data if isinstance(letter.data, dict) else {}
        if is_message(sent):
            return _of_message(sent)
        task, args, kwargs = sent.get("task"), sent.get("args", []), sent.get("kwargs", {})
        if not (isinstance(task, str) and isinstance(args, list) and isinstance(kwargs, dict)):
            return None
        return Arguments(task, args, kwargs, _sent(sent.get("options")))
    watch = Watch.objects.using(shown()).filter(name=letter.watch).first()
    if watch is None:
        return None
    if isinstance(watch.options, dict) and watch.options.get("call") == "event":
        return Arguments(watch.task, [_as_argument(letter)], {}, _sent(watch.options))
    return Arguments(watch.task, letter.key if isinstance(letter.key, list) else [], {}, _sent(watch.options))


def settle(request: HttpRequest, kind: Kind, letters: Sequence[DeadLetter]) -> int:
    """Retries or discards dead letters, all or none of them. Returns their number.

    Fewer than asked for: another person has decided about the others meanwhile. Raises DecisionError, with the reason,
    if the database refused it and nothing was done.
    """
    done, settled = 0, list[DeadLetter]()
    try:
        with transaction.atomic(using=shown()), connections[shown()].cursor() as cursor:
            cursor.execute(_CONTEXT, {"context": _context(request)})
            for start in range(0, len(letters), CHUNK):
                number, chunk = _settle(cursor, kind, letters[start : start + CHUNK])
                done += number
                settled += chunk
            _log(request, settled, CHANGE if kind == "retry" else DELETION, f"{kind.title()} of a dead letter.")
    except DatabaseError as error:
        raise DecisionError(f"{sentence(error)}.") from error
    return done


def send_edited(
    request: HttpRequest, letter: DeadLetter, call: Arguments, args: list[Any], kwargs: dict[str, Any]
) -> None:
    """Sends the task of a dead letter with other arguments, and discards the dead letter, in one transaction.

    bridge.send() and bridge.send_task() start only tasks that the owner of the schema has allowed, so nobody can start
    another task this way. Raises DecisionError, with the reason, if nothing was done.
    """
    query, values = _sending(letter, call, args, kwargs)
    try:
        with transaction.atomic(using=shown()), connections[shown()].cursor() as cursor:
            cursor.execute(_CONTEXT, {"context": _context(request)})
            cursor.execute(_SETTLE["discard"], {"ids": [letter.pk]})
            if cursor.fetchone() != (1,):
                raise DecisionError("Another person has decided about this dead letter, so nothing was sent.")
            cursor.execute(query, values)
            said = f"Sent {call.task} with other arguments: {json.dumps(args)} {json.dumps(kwargs)}"
            _log(request, [letter], CHANGE, said)
    except DatabaseError as error:
        raise DecisionError(_said(error, call.task)) from error


def _settle(cursor: Any, kind: Kind, letters: Sequence[DeadLetter]) -> tuple[int, Sequence[DeadLetter]]:
    """Returns the number of dead letters that were settled, and which these are: the history names no others."""
    with transaction.atomic(using=shown()):
        number = _number(cursor, kind, letters)
        transaction.set_rollback(number < len(letters), using=shown())  # to the beginning of this block
    if number >= len(letters):
        return number, letters
    # Another person has decided about some of them. One at a time shows which.
    numbers = [_number(cursor, kind, [letter]) for letter in letters]
    return sum(numbers), [letter for letter, number in zip(letters, numbers, strict=True) if number]


def _number(cursor: Any, kind: Kind, letters: Sequence[DeadLetter]) -> int:
    cursor.execute(_SETTLE[kind], {"ids": [letter.pk for letter in letters]})
    return int(cursor.fetchone()[0])


def _of_message(sent: dict[str, Any]) -> Arguments | None:
    try:
        message = read(sent)
    except CanvasError:
        return None
    return Arguments(message.task, message.args, message.kwargs, {}, sent["message"])


def _sending(
    letter: DeadLetter, call: Arguments, args: list[Any], kwargs: dict[str, Any]
) -> tuple[str, dict[str, Any]]:
    """Returns the statement that sends the task again, and its values."""
    texts = {"task": call.task, "args": json.dumps(args), "kwargs": json.dumps(kwargs)}
    if call.message is None:
        return _SEND, {**texts, "options": json.dumps(call.options), "stream": letter.stream}
    # What Celery has said shows the old arguments too, for people.
    said = {name: value for name, value in call.message.items() if name not in ("argsrepr", "kwargsrepr")}
    try:
        # Arguments may name tasks as well: those of a chord or a map.
        tasks = sorted(read({**texts, "message": said}).tasks)
    except CanvasError as error:
        raise DecisionError(f"The task can't be sent with these arguments: {error}.") from error
    return _SEND_MESSAGE, {**texts, "message": json.dumps(said), "tasks": tasks}


def _said(error: DatabaseError, task: str) -> str:
    diagnosis = getattr(error.__cause__, "diag", None)
    message = getattr(diagnosis, "message_primary", None) or str(error)
    if getattr(error.__cause__, "sqlstate", None) == "42501" and "may not be sent" in message:
        quoted = task.replace("'", "''")
        return f"{message}. The owner of schema bridge can allow it: select bridge.allow('{quoted}');"
    return f"{message}."


def _sent(options: Any) -> dict[str, Any]:
    return {name: options[name] for name in _SENT_OPTIONS if name in options} if isinstance(options, dict) else {}


def _as_argument(letter: DeadLetter) -> dict[str, Any]:
    """Returns the dict that a task with `call = "event"` gets, as bridge.call makes it."""
    data = letter.data if isinstance(letter.data, dict) else {}
    try:
        context = json.loads(letter.context) if letter.context is not None else None
    except (ValueError, RecursionError):
        context = letter.context
    return {
        "id": letter.pk,
        "watch": letter.watch,
        "operation": letter.op,
        "key": letter.key,
        **{name: data.get(name) for name in ("old_key", "old", "new", "changed")},
        "at": letter.at.isoformat() if letter.at is not None else None,
        "context": context,
    }


def _context(request: HttpRequest) -> str:
    return json.dumps({"user": request.user.pk, "path": request.path}, default=str)


def _log(request: HttpRequest, letters: Sequence[DeadLetter], flag: int, message: str) -> None:
    if letters:
        LogEntry.objects.log_actions(request.user.pk, letters, flag, change_message=message)  # type: ignore[arg-type]
