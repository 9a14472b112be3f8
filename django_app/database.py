"""The databases that have the bridge's schema, and what is installed there."""

import re
import shlex
from collections.abc import Sequence

import psycopg
from django.conf import settings
from django.core.management.base import CommandError
from django.db import DEFAULT_DB_ALIAS, DatabaseError, Error, connections
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.migrations.recorder import MigrationRecorder

from bridge.database import schema
from bridge.database.statement import statement
from bridge.database.translation import translate

Version = tuple[int, ...]

_INSTALLED = statement("is_installed")
_VERSION = statement("read_version")
_SCHEMA = statement("has_schema", "django_app")
_GUARD = statement("has_guard", "django_app")
_OTHER_OWNER = statement("find_other_owner", "django_app")


def aliases() -> tuple[str, ...]:
    """Returns the aliases of the databases that have the bridge's schema, as the setting BRIDGE_DATABASE names them."""
    named = getattr(settings, "BRIDGE_DATABASE", DEFAULT_DB_ALIAS)
    return tuple(map(str, named)) if isinstance(named, list | tuple) else (str(named),)


def alias() -> str:
    """Returns the first of these aliases: the database of the inbox, of tables that a watch names in SQL, and of
    the admin's pages that name no other."""
    return aliases()[0]


def connect(using: str) -> BaseDatabaseWrapper:
    """Returns the connection of this alias; raises CommandError if it is missing or is not PostgreSQL."""
    if using not in connections.settings:
        raise CommandError(f"DATABASES has no alias '{using}'. Use one of: {', '.join(connections.settings)}.")
    connection = connections[using]
    if connection.vendor != "postgresql":
        raise CommandError(
            f"The database '{using}' is {connection.display_name}; Commit Bridge needs PostgreSQL. "
            "Set BRIDGE_DATABASE to the alias of a PostgreSQL database."
        )
    return connection


def is_supported(using: str) -> bool:
    """Whether this alias is a PostgreSQL database. With another one, such as SQLite in development, the app does
    nothing, and a system check says so."""
    return using in connections.settings and connections[using].vendor == "postgresql"


def migrate_command(using: str) -> str:
    """Returns the command that migrates this database, for a shell."""
    return shlex.join(["manage.py", "migrate", *(() if using == DEFAULT_DB_ALIAS else ("--database", using))])


def bridge_command(using: Sequence[str], *words: str) -> str:
    """Returns a command of `bridge` for the first of these databases, for a shell. One `run` serves all of them."""
    if words == ("install",):
        return migrate_command(using[0])
    chosen = () if using[0] == alias() or words == ("run",) else ("--database", using[0])
    return shlex.join(["manage.py", "bridge", *words, *chosen])


def installed_version(connection: BaseDatabaseWrapper) -> str | None:
    """Returns the version of the triggers.sql in the database; None if none is installed."""
    with connection.cursor() as cursor:
        cursor.execute(_INSTALLED)
        if cursor.fetchone() != (True,):
            return None
        cursor.execute(_VERSION)
        row = cursor.fetchone()
    return str(row[0]) if row and row[0] else None


def is_behind(installed: str | None) -> bool:
    """Whether the packaged triggers.sql is newer. If it is older than the installed one, it must not be applied."""
    return installed is None or _numbers(installed) < _numbers(schema.version())


def has_schema(connection: BaseDatabaseWrapper) -> bool:
    with connection.cursor() as cursor:
        cursor.execute(_SCHEMA)
        return bool(cursor.fetchone() == (True,))


def has_guard(connection: BaseDatabaseWrapper) -> bool:
    """Whether the triggers.sql in the database has the functions that the guard calls, and this role may call them."""
    with connection.cursor() as cursor:
        cursor.execute(_GUARD)
        return bool(cursor.fetchone() == (True,))


def stranger(connection: BaseDatabaseWrapper) -> str | None:
    """Returns a message if this role may not change watches, since it is not the owner of schema bridge; else None."""
    with connection.cursor() as cursor:
        cursor.execute(_OTHER_OWNER)
        row = cursor.fetchone()
    if row is None:
        return None
    return f"The watches stay as they are: schema bridge belongs to {row[1]}, not to {row[0]}. Migrate as {row[1]}."


def is_wanted(connection: BaseDatabaseWrapper) -> bool:
    """Whether the app's migration is applied: False after `migrate bridge zero`, True where migrations are disabled."""
    modules = getattr(settings, "MIGRATION_MODULES", {})
    if "bridge" in modules and modules["bridge"] is None:
        return True
    recorder = MigrationRecorder(connection)
    return ("bridge", "0001_install") in recorder.applied_migrations()


def sqlstate(error: DatabaseError) -> str | None:
    state = getattr(error.__cause__, "sqlstate", None)
    return None if state is None else str(state)


def sentence(error: Error) -> str:
    """Returns PostgreSQL's message and its hint on one line, without the functions in which the error occurred."""
    diagnosis = getattr(error.__cause__, "diag", None)
    primary = getattr(diagnosis, "message_primary", None) or str(error)
    hint = (getattr(diagnosis, "message_hint", None) or "").rstrip(".")
    return " ".join((f"{primary} ({hint})" if hint else primary).split())


def refusal(error: Error) -> str:
    """Returns what stopped a command, on one line, and what to do about it."""
    return str(translate(error.__cause__)) if isinstance(error.__cause__, psycopg.Error) else sentence(error)


def _numbers(version: str) -> Version:
    return tuple(int(part) for part in re.findall(r"\d+", version))
