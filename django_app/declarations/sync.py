"""Changes the watches in the database to the declared ones: makes the plan and carries it out."""

import sys
import weakref
from collections.abc import Callable
from typing import TextIO

from django.core.management.base import CommandError
from django.db import DatabaseError, OperationalError
from django.db.backends.base.base import BaseDatabaseWrapper

from bridge.change import Change
from bridge.database import schema
from django_app import guard, patience
from django_app.database import (
    connect,
    has_guard,
    has_schema,
    installed_version,
    is_behind,
    is_wanted,
    sentence,
    stranger,
)
from django_app.declarations import registry
from django_app.declarations.plan import Definition, Plan, compare, execute
from django_app.errors import DeclarationError
from django_app.patience import is_lock_trouble, patiently
from django_app.testing_settings import without_watches


def before_migrate(using: str, verbosity: int, stdout: TextIO | None = None) -> None:
    """Handles pre_migrate: installs the guard, which keeps the watches from blocking the migrations."""
    connection = connect(using)
    installed = has_schema(connection)
    say = _teller(verbosity, stdout)
    if installed and (complaint := stranger(connection)):
        say(complaint)
    elif installed:
        # Capture of an older triggers.sql may block the migrations, and lacks the functions that the guard calls.
        if is_wanted(connection) and (is_behind(installed_version(connection)) or not has_guard(connection)):
            _patiently(connection, ["triggers.sql"], lambda: _apply_triggers(connection))
        guard.enter(connection, say, stdout)


def after_migrate(using: str, verbosity: int, stdout: TextIO | None = None) -> None:
    """Handles post_migrate. It changes nothing in other databases, nor before the app's own migration."""
    connection = connect(using)
    guard.leave(connection)
    if has_schema(connection) and stranger(connection):
        return  # before_migrate() has reported it
    if is_wanted(connection):
        lines = bring_in_line(connection, strict=False).lines()
        if without_watches():
            lines.append("BRIDGE_TEST_TRIGGERS is False, so this test database gets no watches.")
    elif registry.declared():
        lines = ["The watches are not installed: run `manage.py migrate bridge`."]
    else:
        lines = []
    say = _teller(verbosity, stdout)
    for line in lines:
        say(line)


def _teller(verbosity: int, stdout: TextIO | None) -> Callable[[str], None]:
    # The guard keeps this function, which must not keep `stdout` alive: the guard ends when `stdout` is gone.
    write = None if stdout is None else weakref.ref(stdout)

    def say(line: str) -> None:
        if verbosity >= 1:
            ((write and write()) or sys.stdout).write(f"  {line}\n")

    return say


def look(connection: BaseDatabaseWrapper) -> Plan:
    """Returns what bring_in_line() would do. A missing or old triggers.sql is handled before any watch."""
    wanted, origins = _wanted(connection.alias)
    upgrade = _upgrade(connection)
    return upgrade if upgrade.changes else compare(connection, wanted, origins)


def bring_in_line(connection: BaseDatabaseWrapper, *, strict: bool = True) -> Plan:
    """Makes the changes and returns them.

    If a watch can't be made, `strict` raises a CommandError and changes nothing; else the other watches are changed.
    """
    expected = look(connection)
    if strict:
        _refuse(expected.broken)
    if not expected.changes:
        return expected  # the usual case takes no lock
    return _patiently(connection, [change.name for change in expected.changes], lambda: _do(connection, strict))


def _patiently(connection: BaseDatabaseWrapper, names: list[str], do: Callable[[], Plan]) -> Plan:
    try:
        return patiently(connection, do)
    except OperationalError as error:
        if not is_lock_trouble(error):
            raise
        raise CommandError(
            f"Nothing was changed: {patience.ATTEMPTS} attempts of {patience.LOCK_TIMEOUT} could not lock the tables "
            f"of {', '.join(names)}; run `manage.py bridge_sync` when no long transaction uses them."
        ) from error
    except DatabaseError as error:
        raise CommandError(f"Nothing was changed: {sentence(error)}") from error


def _do(connection: BaseDatabaseWrapper, strict: bool) -> Plan:
    wanted, origins = _wanted(connection.alias)
    upgrade = _upgrade(connection)
    if upgrade.changes:
        _apply_triggers(connection)
    rest = compare(connection, wanted, origins)
    broken = rest.broken | execute(connection, wanted, rest)
    if strict:
        _refuse(broken)
    done = [change for change in rest.changes if change.name not in broken]
    return Plan(upgrade.changes + done, rest.later, broken)


def _refuse(broken: dict[str, str]) -> None:
    if broken:
        name, reason = next(iter(broken.items()))
        raise CommandError(f'Nothing was changed: watch "{name}": {reason}')


def _apply_triggers(connection: BaseDatabaseWrapper) -> Plan:
    with connection.cursor() as cursor:
        cursor.execute(schema.read())
    return Plan()


def _upgrade(connection: BaseDatabaseWrapper) -> Plan:
    installed = installed_version(connection)
    if not is_behind(installed):
        return Plan()
    after = {"version": schema.version()}
    if installed is None:
        return Plan([Change("install", "triggers.sql", None, after)])
    return Plan([Change("upgrade", "triggers.sql", {"version": installed}, after)])


def _wanted(using: str) -> tuple[list[Definition], dict[str, str]]:
    """Returns the definitions of the watches that are declared for this database, and the place of each declaration by
    the watch's name."""
    wanted: list[Definition] = []
    origins: dict[str, str] = {}
    if without_watches():
        return wanted, origins  # a test database that an earlier run has kept loses its watches
    for declaration in registry.declared():
        if declaration.home != using:
            continue
        try:
            watch = declaration.watch()
        except DeclarationError as error:
            raise CommandError(str(error)) from error
        wanted.append(watch.definition())
        origins[watch.name] = declaration.origin
    return wanted, origins
