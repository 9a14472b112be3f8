"""The guard: during a `migrate`, no watch blocks a statement, and no statement drops the triggers of a watch.

PostgreSQL refuses to retype or drop a column that a trigger's WHEN names; with CASCADE it drops the trigger too. The
guard does not parse what a statement does: PostgreSQL's own error says which triggers block it. Then these watches step
aside, the statement runs again, and the watches step back, all in one transaction.
"""

import re
import weakref
from collections.abc import Callable, Iterable
from contextlib import suppress
from functools import partial
from typing import Any

from django.db import DatabaseError, Error, OperationalError, transaction
from django.db.backends.base.base import BaseDatabaseWrapper

from bridge.database.statement import statement
from django_app.database import has_guard, sentence, sqlstate

Say = Callable[[str], object]
Run = Callable[[], Any]
Tables = frozenset[int]  # oids of tables, since a statement may change their names

CHANGES = re.compile(r"\b(alter|drop)\b", re.IGNORECASE)
DROPS = re.compile(r"\bdrop\b.*\bcascade\b", re.IGNORECASE | re.DOTALL)
# Statements without parameters that may call any function, such as one that alters a table.
BLANK = r"(\s|\(|--[^\n]*(\n|$)|/\*.*?\*/)*"
CALLS = re.compile(BLANK + r"(select|with|call|do|values|execute)\b", re.IGNORECASE | re.DOTALL)
# The queries of Django's models have parameters and should not pay for a savepoint. So a statement with parameters
# matches only if it begins with a call.
NAME = r'("[^"]*"|\w+)'
CALLS_FIRST = re.compile(
    BLANK + rf"(call\b|do\b|execute\b|select\s+{NAME}(\s*\.\s*{NAME})*\s*\()", re.IGNORECASE | re.DOTALL
)

MENTIONED = statement("find_mentioned_tables", "django_app")
REFUSING = statement("find_refusing_tables", "django_app")
TORN = statement("find_torn_tables", "django_app")
STEP_ASIDE = statement("step_aside", "django_app")
STEP_BACK = statement("step_back", "django_app")

REFUSED = {"0A000", "2BP01"}  # feature_not_supported, dependent_objects_still_exist
REFUSE_TRANSACTIONS = {"25001", "2D000"}  # active_sql_transaction, invalid_transaction_termination


class Guard:
    """Runs each statement of one connection; it has the signature that Django's `execute_wrapper` needs."""

    def __init__(self, connection: BaseDatabaseWrapper, say: Say) -> None:
        self._connection = connection
        self._say = say
        self._is_busy = False
        self.is_over = False

    def __call__(self, execute: Callable[..., Any], sql: Any, params: Any, many: bool, context: Any) -> Any:
        run = partial(execute, sql, params, many, context)
        text = self._text(sql)
        if self._is_busy or self.is_over or not (CHANGES.search(text) or self._calls(text, params)):
            return run()
        self._is_busy = True  # our own statements also pass through here
        try:
            return self._escort(run, text)
        finally:
            self._is_busy = False

    @staticmethod
    def _calls(text: str, params: Any) -> bool:
        return (CALLS if params is None else CALLS_FIRST).match(text) is not None

    def _escort(self, run: Run, text: str) -> Any:
        drops = DROPS.search(text) is not None
        takes = drops or CALLS.match(text) is not None
        outside = self._connection.get_autocommit()
        # If there are several statements, the first may drop a trigger that must record changes of the second one.
        aside = self._tables(MENTIONED, text) if drops and ";" in text.rstrip("; \t\n") else Tables()
        alone = outside and not takes  # no writer may run between the loss of a trigger and the new one
        while True:
            try:
                if alone:  # some statements refuse a transaction
                    return self._between(run, aside, takes)
                with transaction.atomic(using=self._connection.alias):  # a savepoint if already in a transaction
                    return self._between(run, aside, takes)
            except DatabaseError as error:
                if outside:
                    with suppress(Error):
                        self._connection.rollback()  # the text itself may contain a BEGIN
                state = sqlstate(error)
                if state in REFUSE_TRANSACTIONS and outside and not alone:
                    alone = True
                    continue
                refusing = self._refusing(error) - aside if state in REFUSED else Tables()
                if not refusing:
                    raise
                aside |= refusing
                alone = False

    def _between(self, run: Run, aside: Tables, takes: bool) -> Any:
        self._each(STEP_ASIDE, aside)
        torn = self._tables(TORN) if takes else Tables()
        result = run()
        self._each(STEP_BACK, aside | (self._tables(TORN) - torn if takes else Tables()))
        return result

    def _refusing(self, error: DatabaseError) -> Tables:
        diagnosis = getattr(error.__cause__, "diag", None)
        detail = getattr(diagnosis, "message_detail", None)
        return self._tables(REFUSING, detail) if detail else Tables()

    def _tables(self, query: str, text: str | None = None) -> Tables:
        """Returns the tables that a function of triggers.sql reports; none if it is not installed."""
        if not has_guard(self._connection):
            return Tables()
        with self._connection.cursor() as cursor:
            cursor.execute(query, None if text is None else {"text": text})
            return Tables(number for (number,) in cursor)

    def _each(self, step: str, tables: Iterable[int]) -> None:
        """Runs a step for each table. A failure is reported and does not fail the migration.

        Only an OperationalError, such as a timeout of the lock, is raised: the migration needs that lock anyway.
        """
        for table in sorted(tables):
            if not has_guard(self._connection):
                return
            try:
                with transaction.atomic(using=self._connection.alias), self._connection.cursor() as cursor:
                    cursor.execute(step, {"table": table})
            except OperationalError:
                raise
            except DatabaseError as error:
                self._say(f"The triggers of a watch could not be adapted to this migration: {sentence(error)}")

    def _text(self, sql: Any) -> str:
        if isinstance(sql, str):
            return sql
        if isinstance(sql, bytes):
            return sql.decode(errors="replace")
        return str(sql.as_string(self._connection.connection))  # psycopg.sql

    def retire(self) -> None:
        self.is_over = True


def enter(connection: BaseDatabaseWrapper, say: Say, run: object | None) -> None:
    """Installs a guard until leave() is called, or until `run` is garbage-collected.

    `run` lives as long as a run of `migrate`: a run that fails sends no post_migrate, so leave() is not called.
    """
    _remove(connection, lambda guard: guard.is_over)
    guard = Guard(connection, say)
    # The context manager execute_wrapper() can only be left in reverse order, but the guard of a failed run is removed
    # last. The first wrapper in this list is the outermost.
    connection.execute_wrappers.insert(0, guard)
    if run is not None:
        weakref.finalize(run, guard.retire).atexit = False


def leave(connection: BaseDatabaseWrapper) -> None:
    newest = next((wrapper for wrapper in connection.execute_wrappers if isinstance(wrapper, Guard)), None)
    _remove(connection, lambda guard: guard is newest or guard.is_over)


def _remove(connection: BaseDatabaseWrapper, goes: Callable[[Guard], bool]) -> None:
    for wrapper in list(connection.execute_wrappers):
        if isinstance(wrapper, Guard) and goes(wrapper):
            connection.execute_wrappers.remove(wrapper)
