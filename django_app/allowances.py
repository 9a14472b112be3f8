"""Allowances: after `migrate`, exactly the tasks that the project's Celery app knows may be sent.

A role that may call `bridge.send` or `bridge.send_task` can start these tasks and no others. What a person has allowed
(`select bridge.allow(...)`) stays.
"""

import sys
from collections.abc import Iterator
from typing import TextIO

from celery import Celery
from django.db.backends.base.base import BaseDatabaseWrapper

from bridge.database.statement import statement
from django_app.database import (
    connect,
    has_schema,
    installed_version,
    is_behind,
    is_wanted,
    stranger,
)
from django_app.project import celery_app, load_app, source, why_no_app

_ALLOW_ONLY = statement("allow_only", "django_app")


def after_migrate(using: str, verbosity: int, stdout: TextIO | None = None) -> None:
    """Handles post_migrate, after the schema has been brought up to date."""
    connection = connect(using)
    if not is_wanted(connection) or not has_schema(connection) or stranger(connection):
        return
    if is_behind(installed_version(connection)):
        return
    for line in bring_in_line(connection):
        if verbosity >= 1:
            (stdout or sys.stdout).write(f"  {line}\n")


def bring_in_line(connection: BaseDatabaseWrapper) -> Iterator[str]:
    """Allows the tasks of the project's app; yields what changed, or why nothing did."""
    app = load_app()
    if app is None:
        if celery_app() is not None:  # it is there, but can't be imported
            yield f"The tasks that may be sent stay as they are: {why_no_app()}"
        return
    with connection.cursor() as cursor:
        cursor.execute(_ALLOW_ONLY, {"tasks": registered(app), "source": source()})
        for action, task in cursor.fetchall():
            yield f"{action} sending {task}"


def registered(app: Celery) -> list[str]:
    """Returns the names of all tasks that the project's code defines. Celery's own need no permission of their own."""
    app.finalize()
    return sorted(name for name in app.tasks if not name.startswith("celery."))
