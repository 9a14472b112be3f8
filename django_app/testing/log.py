"""The event log as a test sees it: on the test's own connection, in its own transaction, with nothing committed."""

import unittest
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from typing import Any

from django.db import connections
from django.db.backends.base.base import BaseDatabaseWrapper

from bridge.call import Targets, targets_of
from bridge.database.statement import statement
from bridge.event import Event
from bridge.stream.row import event_of
from django_app.database import alias
from django_app.testing.errors import TestingError
from django_app.testing_settings import on_other_databases, without_watches

_MAY_READ = statement("may_read_log", "django_app")
_MARK = statement("mark_log", "django_app")
_EVENTS = statement("read_events", "django_app")
_WATCHES = statement("read_watches", "django_app")


@dataclass(frozen=True)
class Mark:
    """A point of the log: what was visible, and the last event of the transaction that was open then."""

    snapshot: str = "1:1:"
    xid: str | None = None
    id: int = 0


START = Mark()
"""The mark before all events."""


@dataclass(frozen=True)
class Installed:
    """A watch as it is in the database."""

    name: str
    task: str
    options: str
    table: str | None
    """The bare name of the table. None: the table was dropped."""
    operations: Sequence[str]
    columns: Sequence[str] | None
    condition: str | None
    installed: bool
    """Whether it has not been removed."""


class Log:
    """The log of one database, through Django's connection."""

    def __init__(self, connection: BaseDatabaseWrapper) -> None:
        self.connection = connection

    @property
    def is_rolled_back(self) -> bool:
        """Whether everything is in one transaction, which Django's TestCase rolls back."""
        return bool(testcase_blocks(self.connection))

    def mark(self) -> Mark:
        """Returns the present end of the log."""
        [(snapshot, xid, number)] = self._rows(_MARK)
        return Mark(snapshot, xid, number)

    def after(self, mark: Mark) -> tuple[list[Event], Mark]:
        """Returns the events after the mark in order of id, and the mark after them.

        In a TestCase these are the events of its transaction. In a TransactionTestCase they are all that have been
        committed to this database, by any thread or process, and those of the present transaction.
        """
        values = {"own": self.is_rolled_back, "snapshot": mark.snapshot, "xid": mark.xid, "id": mark.id}
        rows = self._rows(_EVENTS, values)
        if rows:
            *_, snapshot, now = rows[-1]
            own = [row[0] for row in rows if row[7] == now]
            last = own[-1] if own else mark.id if mark.xid == now else 0
            mark = Mark(snapshot, now, last)
        return [event_of((*row[:6], row[6] and datetime.fromisoformat(row[6]), *row[7:])) for row in rows], mark

    @cached_property
    def watches(self) -> list[Installed]:
        """All watches, also removed ones."""
        return [Installed(*row[:8]) for row in self._watches if row[0] is not None]

    @cached_property
    def targets(self) -> Targets:
        """What the relay needs of the watches."""
        said = [(watch.name, watch.task, watch.options) for watch in self.watches]
        return targets_of(said, self._watches[0][8])

    @cached_property
    def _watches(self) -> list[Any]:
        return self._rows(_WATCHES)

    def _rows(self, query: str, values: dict[str, Any] | None = None) -> list[Any]:
        with _unnoticed(self.connection), self.connection.cursor() as cursor:
            cursor.execute(query, values)
            return list(cursor.fetchall())


def open_log(using: str | None = None) -> Log | None:
    """Returns the log of the bridge's database, or None if BRIDGE_TEST_SQLITE says that the kit does nothing there.

    Skips the test if its database has no watches by intention, and raises TestingError if they are missing.
    """
    __tracebackhide__ = True
    using = using or alias()
    if using not in connections.settings:
        raise TestingError(f"DATABASES has no alias '{using}'. Use one of: {', '.join(connections.settings)}.")
    connection = connections[using]
    if connection.vendor != "postgresql":
        if on_other_databases() == "ignore":
            return None
        raise unittest.SkipTest(
            f"The database '{using}' is {connection.display_name}, which has no watches. This test needs PostgreSQL. "
            'With BRIDGE_TEST_SQLITE = "ignore" it runs, and the testing kit captures and proves nothing.'
        )
    if without_watches():
        raise unittest.SkipTest(
            "BRIDGE_TEST_TRIGGERS is False, so this test database has no watches. Set it to True to run this test."
        )
    match may_read(connection):
        case None:
            raise TestingError(
                f"The database '{connection.settings_dict['NAME']}' has no schema bridge. Add 'django_app' to "
                "INSTALLED_APPS and run `manage.py migrate`. A test database that was kept needs one run without "
                "--keepdb (with pytest: --create-db)."
            )
        case False:
            raise TestingError(
                f"The role '{connection.settings_dict['USER']}' may not read the event log, so the testing kit can't "
                "show what was captured. Let it read: `grant usage on schema bridge to ...; grant select on "
                "bridge.event, bridge.watch, bridge.sendable to ...`. Or run the tests as the role that migrates."
            )
    return Log(connection)


def may_read(connection: BaseDatabaseWrapper) -> bool | None:
    """Returns whether this role may read the log; None without schema bridge."""
    with _unnoticed(connection), connection.cursor() as cursor:
        cursor.execute(_MAY_READ)
        [(found,)] = cursor.fetchall()
    return None if found is None else bool(found)


def testcase_blocks(connection: BaseDatabaseWrapper) -> list[Any]:
    """Returns the blocks of atomic() that Django's TestCase has opened."""
    return [block for block in connection.atomic_blocks if getattr(block, "_from_testcase", False)]


@contextmanager
def _unnoticed(connection: BaseDatabaseWrapper) -> Iterator[None]:
    """Keeps our queries out of assertNumQueries()."""
    kept, connection.force_debug_cursor = connection.force_debug_cursor, False
    try:
        yield
    finally:
        connection.force_debug_cursor = kept
