"""Findings: what is wrong with the declarations of the project, compared with the database."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from django.core.management.base import CommandError
from django.core.signals import request_started
from django.db import DatabaseError

from bridge.change import Change
from django_app.database import aliases, connect, is_supported, migrate_command, refusal, stranger
from django_app.declarations import sync
from django_app.declarations.plan import doubt

logger = logging.getLogger(__name__)

_migrating = ContextVar("bridge_migrating", default=False)


@contextmanager
def while_migrating() -> Iterator[None]:
    """Marks the block as a run of `migrate`. It mends the findings, so its system checks don't repeat them."""
    token = _migrating.set(True)
    try:
        yield
    finally:
        _migrating.reset(token)


def is_migrating() -> bool:
    """Whether this is a run of `migrate`."""
    return _migrating.get()


def remind(**_: Any) -> None:
    """Warns once, at the first request of a development server, of watches that are not installed as declared."""
    request_started.disconnect(remind)
    for finding in findings():
        logger.warning("%s", finding)


def findings() -> list[str]:
    """Returns one sentence for each watch that is not installed as the project declares it, with the command that
    mends it."""
    return [finding for using in filter(is_supported, aliases()) for finding in findings_in(using)]


def findings_in(using: str) -> list[str]:
    """Returns the findings of one database."""
    command = migrate_command(using)
    try:
        connection = connect(using)
        plan = sync.look(connection)
        owner = stranger(connection) if plan else None
    except (CommandError, DatabaseError) as error:
        said = refusal(error) if isinstance(error, DatabaseError) else str(error)
        return [f"the declared watches can't be compared with the database: {said}"]
    # A role that may not change watches can't mend this, so the message names the owner.
    mend = f"run `{command}`" if owner is None else f"run `{command}` as the owner. {owner}"
    found = [f"{_SAID[change.action].format(change.name)}; {_first(change)}{mend}" for change in plan.changes]
    found += [f'watch "{name}" is not installed: {reason}' for name, reason in plan.later.items()]
    return found + [f'watch "{name}" can\'t be installed: {reason}' for name, reason in plan.broken.items()]


def _first(change: Change) -> str:
    """Returns what to do before the command that mends a finding."""
    said = doubt(change)
    return f"{said}; else " if said else ""


_SAID = {
    "install": "the schema bridge is not installed",
    "upgrade": "the database has an older triggers.sql than this package",
    "create": 'watch "{}" is declared, but not installed, so its changes start nothing',
    "replace": 'watch "{}" is installed with another definition than the declared one',
    "repair": 'watch "{}" does not fit its table any more, or its triggers are disabled',
    "remove": 'watch "{}" is installed, but no longer declared, and still starts tasks',
}
