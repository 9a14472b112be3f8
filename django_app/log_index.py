"""The indexes of the log that the setting BRIDGE_LOG_INDEXES asks for: by key, and by time.

With them, the timeline of an object and the filter by time reach the end of the log. Each captured change then has to
maintain them, so they are not there by default.
"""

from collections.abc import Callable

from django.conf import settings
from django.db import DatabaseError
from django.db.backends.base.base import BaseDatabaseWrapper

from bridge.database.statement import statement
from django_app.database import connect, has_schema, sentence, stranger
from django_app.patience import patiently

_BUILD = statement("build_log_indexes", "django_app")
_DROP = statement("drop_log_indexes", "django_app")
_DROP_TORN = statement("drop_torn_indexes", "django_app")
_STATE = statement("has_log_indexes", "django_app")


def is_complete(connection: BaseDatabaseWrapper) -> bool | None:
    """Whether the indexes can be used; None if there are none."""
    with connection.cursor() as cursor:
        cursor.execute(_STATE)
        row = cursor.fetchone()
    return None if row is None or row[0] is None else bool(row[0])


def after_migrate(using: str, say: Callable[[str], object]) -> None:
    """Builds or drops the indexes as the setting says. A failure is reported and does not fail the migration."""
    connection = connect(using)
    if not has_schema(connection) or stranger(connection):
        return
    is_wanted = bool(getattr(settings, "BRIDGE_LOG_INDEXES", False))
    state = is_complete(connection)
    try:
        if is_wanted and not state:
            _build(connection)
            say("The indexes of the log were built.")
        elif not is_wanted and state is not None:
            _patiently(connection, _DROP)
            say("The indexes of the log were dropped.")
    except DatabaseError as error:
        say(f"The indexes of the log stay as they were: {sentence(error)}. Run `manage.py migrate` again.")


def _build(connection: BaseDatabaseWrapper) -> None:
    _patiently(connection, _DROP_TORN)
    for each in _BUILD.split(";\n"):
        if not each.strip():
            continue
        if "concurrently" not in each or connection.in_atomic_block:
            _patiently(connection, each.replace(" concurrently", ""))
        else:
            with connection.cursor() as cursor:
                cursor.execute(each)


def _patiently(connection: BaseDatabaseWrapper, query: str) -> None:
    """Runs a statement that takes a lock of the log."""

    def run() -> None:
        with connection.cursor() as cursor:
            cursor.execute(query)

    patiently(connection, run)
