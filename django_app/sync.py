"""Brings the database's watches in line with the declarations: the plan, and doing it."""

import sys
from typing import TextIO

from django.core.management.base import CommandError
from django.db import DatabaseError, OperationalError, transaction
from django.db.backends.base.base import BaseDatabaseWrapper

from bridge import schema
from django_app import registry
from django_app.database import alias, connect, installed_version, is_behind, is_wanted
from django_app.errors import DeclarationError
from django_app.plan import Change, Definition, Plan, compare, execute

LOCK_TIMEOUT = "2s"
ATTEMPTS = 5
LOCK_TROUBLE = {"55P03", "40P01"}  # lock_not_available, deadlock_detected


def after_migrate(using: str, verbosity: int, stdout: TextIO | None = None) -> None:
    """What post_migrate does: nothing on another database, and nothing before the app's own migration."""
    if using != alias():
        return
    connection = connect(using)
    if is_wanted(connection):
        lines = bring_in_line(connection).lines()
    elif registry.declared():
        lines = ["The watches wait for `manage.py migrate bridge`."]
    else:
        lines = []
    if verbosity >= 1:
        for line in lines:
            (stdout or sys.stdout).write(f"  {line}\n")


def look(connection: BaseDatabaseWrapper) -> Plan:
    """What bring_in_line() would do. A missing or old triggers.sql comes before any watch."""
    wanted = _wanted()
    upgrade = _upgrade(connection)
    return upgrade if upgrade.changes else compare(connection, wanted)


def bring_in_line(connection: BaseDatabaseWrapper) -> Plan:
    """All of it or nothing; returns what was done."""
    expected = look(connection)
    if not expected.changes:
        return expected  # the usual case takes no lock at all
    for _ in range(ATTEMPTS):
        try:
            with transaction.atomic(using=connection.alias):
                return _do(connection)
        except OperationalError as error:
            # DDL that waits makes every later writer of the table wait behind it: give way, then queue again.
            if getattr(error.__cause__, "sqlstate", None) not in LOCK_TROUBLE:
                raise
        except DatabaseError as error:
            raise CommandError(f"Nothing was changed: {' '.join(str(error).split())}") from error
    names = ", ".join(change.name for change in expected.changes)
    raise CommandError(
        f"Nothing was changed: {ATTEMPTS} attempts of {LOCK_TIMEOUT} could not lock the tables of {names}; "
        "run `manage.py bridge_sync` when no long transaction uses them."
    )


def _do(connection: BaseDatabaseWrapper) -> Plan:
    wanted = _wanted()
    with connection.cursor() as cursor:
        cursor.execute(f"set local lock_timeout = '{LOCK_TIMEOUT}'")
        upgrade = _upgrade(connection)
        if upgrade.changes:
            cursor.execute(schema.read())
    rest = compare(connection, wanted)
    execute(connection, wanted, rest)
    return Plan(upgrade.changes + rest.changes, rest.later)


def _upgrade(connection: BaseDatabaseWrapper) -> Plan:
    installed = installed_version(connection)
    if not is_behind(installed):
        return Plan([], {})
    after = {"version": schema.version()}
    if installed is None:
        return Plan([Change("install", "triggers.sql", None, after)], {})
    return Plan([Change("upgrade", "triggers.sql", {"version": installed}, after)], {})


def _wanted() -> list[Definition]:
    try:
        return [declaration.watch().definition() for declaration in registry.declared()]
    except DeclarationError as error:
        raise CommandError(str(error)) from error
