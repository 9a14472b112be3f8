"""Allowances: after `migrate`, exactly the tasks that the project's Celery app knows may be sent.

A role that may call `bridge.send` or `bridge.send_task` can start these tasks and no others. What a person has allowed
(`select bridge.allow(...)`) stays.
"""

import sys
from collections.abc import Iterator
from typing import Any, TextIO

from celery import Celery
from celery.app import app_or_default
from django.db.backends.base.base import BaseDatabaseWrapper

from bridge.database.statement import statement
from django_app.database import alias, connect, has_schema, installed_version, is_behind, is_wanted, stranger
from django_app.declarations.declaration import SOURCE

_ALLOW_ONLY = statement("allow_only", "django_app")


def after_migrate(using: str, verbosity: int, stdout: TextIO | None = None) -> None:
    """Handles post_migrate, after the schema has been brought up to date."""
    if using != alias():
        return
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
    app = project_app()
    if app is None:
        return
    try:
        names = registered(app)
    except Exception as error:
        # The project's modules run here, and may raise anything.
        yield f"The tasks that may be sent stay as they are: {type(error).__name__}: {error}"
        return
    with connection.cursor() as cursor:
        cursor.execute(_ALLOW_ONLY, {"tasks": names, "source": SOURCE})
        for action, task in cursor.fetchall():
            yield f"{action} sending {task}"


def project_app() -> Celery | None:
    """Returns the current Celery app, or None if the project has made none and Celery would use its own default."""
    app: Any = app_or_default()
    return None if app.main in ("default", None) and not app.set_as_current else app


def registered(app: Celery) -> list[str]:
    """Returns the names of all tasks that the project's code defines. Celery's own need no permission of their own."""
    app.loader.import_default_modules()
    app.finalize()
    return sorted(name for name in app.tasks if not name.startswith("celery."))
