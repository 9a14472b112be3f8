"""Post: writes a task into the log on Django's connection, so that it is part of the transaction."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from django.db import DatabaseError, connections

from bridge.database.statement import statement
from django_app.database import alias, aliases, sentence, sqlstate
from django_app.errors import SendError
from django_app.sending.letter import check_options, letter
from django_app.sending.recording import record

_SEND = statement("send_message", "django_app")
_MAY_NOT = "42501"  # insufficient_privilege
_MISSING = {"42883", "3F000", "42P01"}  # undefined_function, invalid_schema_name, undefined_table

# True: every task goes into the log. False: none does. None: those in a transaction do.
_way: ContextVar[bool | None] = ContextVar("bridge_way", default=None)


@contextmanager
def always(durable: bool) -> Iterator[None]:
    """Sends the tasks of this context into the log, or none of them, whether in a transaction or not."""
    token = _way.set(durable)
    try:
        yield
    finally:
        _way.reset(token)


def goes_into_the_log() -> bool:
    """Whether a task that is called here goes into the log: a transaction of a bridge's database is open."""
    way = _way.get()
    return open_database() is not None if way is None else way


def open_database() -> str | None:
    """Returns the database that a task goes into: the first of BRIDGE_DATABASE that has a transaction open here."""
    return next((using for using in aliases() if _in_transaction(using)), None)


def _in_transaction(using: str) -> bool:
    connection = connections[using]
    if connection.vendor != "postgresql":
        return False
    if connection.in_atomic_block or not connection.settings_dict["AUTOCOMMIT"]:
        return True
    return connection.connection is not None and not connection.autocommit


def post(task: Any, args: Any, kwargs: Any, options: dict[str, Any]) -> Any:
    """Sends a task as part of the transaction, or with a commit of its own if there is none; returns its result.

    Raises SendError if it can't be sent.
    """
    name = task.name
    check_options(name, options)
    options.pop("publisher", None)  # an old name of `producer`, which is ours
    recording, result = record(task, args, kwargs, options)
    _write(name, letter(name, recording, task._get_app()))
    return result


def _write(name: str, parameters: dict[str, Any]) -> None:
    connection = connections[open_database() or alias()]
    if connection.vendor != "postgresql":
        raise SendError(name, f"the database '{connection.alias}' is {connection.display_name}, not PostgreSQL")
    try:
        with connection.cursor() as cursor:
            cursor.execute(_SEND, parameters)
    except DatabaseError as error:
        state = sqlstate(error)
        if state in _MISSING:
            raise SendError(name, "schema bridge is missing or older", "Run: manage.py migrate bridge.") from error
        if state == _MAY_NOT:
            raise SendError(name, sentence(error), _fix(str(error))) from error
        raise


def _fix(said: str) -> str:
    if "may not be sent" in said:
        return "Run manage.py migrate, which allows the tasks of the project, or let the owner call bridge.allow."
    return "Grant this role the right to send: docs/howto/roles.sql."
