"""The one database that the bridge lives in, and whether triggers.sql is there."""

import re

from django.conf import settings
from django.core.management.base import CommandError
from django.db import DEFAULT_DB_ALIAS, connections
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.migrations.recorder import MigrationRecorder

from bridge import schema

Version = tuple[int, ...]


def alias() -> str:
    return str(getattr(settings, "BRIDGE_DATABASE", DEFAULT_DB_ALIAS))


def connect(using: str) -> BaseDatabaseWrapper:
    """The connection, of the one kind that will do."""
    if using not in connections.settings:
        raise CommandError(f"DATABASES has no '{using}': name one of {', '.join(connections.settings)}.")
    connection = connections[using]
    if connection.vendor != "postgresql":
        raise CommandError(
            f"The database '{using}' is {connection.display_name}; Commit Bridge needs PostgreSQL: "
            "name the alias of a PostgreSQL database in BRIDGE_DATABASE."
        )
    return connection


def installed_version(connection: BaseDatabaseWrapper) -> str | None:
    """Version of the triggers.sql in the database; None where there is none."""
    with connection.cursor() as cursor:
        cursor.execute("select pg_catalog.to_regprocedure('bridge.version()') is not null")
        if cursor.fetchone() != (True,):
            return None
        cursor.execute("select bridge.version()")
        row = cursor.fetchone()
    return str(row[0]) if row and row[0] else None


def is_behind(installed: str | None) -> bool:
    """Whether the packaged triggers.sql is newer; an older one than the database's must not be applied."""
    return installed is None or _numbers(installed) < _numbers(schema.version())


def is_wanted(connection: BaseDatabaseWrapper) -> bool:
    """Not before the app's migration or after `migrate bridge zero`; yes where migrations are off."""
    modules = getattr(settings, "MIGRATION_MODULES", {})
    if "bridge" in modules and modules["bridge"] is None:
        return True
    recorder = MigrationRecorder(connection)
    return ("bridge", "0001_install") in recorder.applied_migrations()


def _numbers(version: str) -> Version:
    return tuple(int(part) for part in re.findall(r"\d+", version))
