"""Context: the scope of the code that writes (bridge.scope) reaches PostgreSQL with the first write of a transaction.

Django calls a wrapper around each statement. Before one that may write, the wrapper sets `bridge.context` for the rest
of the transaction; the statement itself stays as it is. The setting is local to the transaction, so nothing of it stays
in a session that a pooler gives to somebody else. A statement outside of a transaction gets one of its own for it.

Our statement goes to the driver directly: Django's log of queries, and so `assertNumQueries`, has the project's own.
"""

import re
from collections.abc import Callable
from typing import Any

from django.db import DEFAULT_DB_ALIAS, connections, transaction
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.backends.signals import connection_created
from psycopg.pq import TransactionStatus

from bridge import scope
from bridge.database.statement import statement
from django_app.database import aliases
from django_app.writing import Kind, kind_of

_SET = statement("set_context")
# Code that only reads the setting, such as a check or a log, does not decide what it is.
_SETS = re.compile(r"""\b(set|reset)(_config\s*\(\s*'|\s+((local|session)\s+)?"?)bridge\.context""", re.IGNORECASE)


class Carrier:
    """The wrapper of one connection. It knows what the open transaction has as its context."""

    def __init__(self, connection: BaseDatabaseWrapper) -> None:
        self._connection = connection
        self._text: str | None = ""
        """None: unknown, because a savepoint was rolled back."""
        self._is_touched = False
        """Whether this transaction has had a context of ours."""
        self._is_theirs = False
        """Whether the project's own code has set the context of this transaction."""
        self._session: Any = None
        self._hooks: Any = None

    def __call__(self, execute: Callable[..., Any], sql: Any, params: Any, many: bool, context: dict[str, Any]) -> Any:
        if not self._is_touched and not scope.opened():
            return execute(sql, params, many, context)
        self.look()
        text = self._text_of(sql)
        kind = kind_of(text)
        if "bridge.context" in text and _SETS.search(text):
            self._is_theirs = True
        if kind is Kind.READS or self._is_theirs:
            return execute(sql, params, many, context)
        if kind is Kind.WRITES and self._is_idle and self._connection.get_autocommit():
            return self._execute_alone(execute, sql, params, many, context)
        if kind is not Kind.CONTROL:
            self.apply()
        try:
            return execute(sql, params, many, context)
        finally:
            if kind is not Kind.WRITES and self._is_touched:
                self._text = None

    def apply(self) -> None:
        """Sets the context for the rest of the open transaction, unless it is set already."""
        wanted = scope.as_setting()
        if wanted == self._text or not self._can_set:
            return
        with self._connection.wrap_database_errors, self._session.cursor() as cursor:
            cursor.execute(_SET, {"context": wanted})
        self._text, self._is_touched = wanted, True

    def _execute_alone(
        self, execute: Callable[..., Any], sql: Any, params: Any, many: bool, context: dict[str, Any]
    ) -> Any:
        """Executes a statement outside of a transaction in one of its own, because the setting ends with it."""
        if not scope.as_setting():
            return execute(sql, params, many, context)
        with transaction.atomic(using=self._connection.alias):
            self.apply()
            return execute(sql, params, many, context)

    def look(self) -> None:
        """Notes whether the transaction is still the one whose context we know.

        Django makes a new list of hooks at each commit and at each rollback, of a savepoint too.
        """
        session, hooks = self._connection.connection, self._connection.run_on_commit
        if session is not self._session or _status(session) == TransactionStatus.IDLE:
            self._text, self._is_touched, self._is_theirs = "", False, False
        elif hooks is not self._hooks and (self._is_touched or self._is_theirs):
            self._text, self._is_touched, self._is_theirs = None, True, False
        self._session, self._hooks = session, hooks

    @property
    def _is_idle(self) -> bool:
        return _status(self._session) == TransactionStatus.IDLE

    @property
    def _can_set(self) -> bool:
        """Whether a statement could succeed now, in a transaction that it does not end."""
        if self._connection.needs_rollback or _status(self._session) == TransactionStatus.INERROR:
            return False
        return not self._is_idle or not self._connection.get_autocommit()

    def _text_of(self, sql: Any) -> str:
        if isinstance(sql, str):
            return sql
        if isinstance(sql, bytes):
            return sql.decode(errors="replace")
        return str(sql.as_string(self._session))


def apply(using: str = DEFAULT_DB_ALIAS) -> None:
    """Sets the context of the open transaction now: before `cursor.copy()` and `callproc`, which no wrapper sees."""
    connection = connections[using]
    connection.ensure_connection()
    for carrier in _carriers(connection):
        carrier.look()
        carrier.apply()


def install() -> None:
    """Puts the wrapper around every connection to the bridge's database, the open ones too."""
    connection_created.connect(_carry, dispatch_uid="bridge.context")
    for connection in connections.all(initialized_only=True):
        _carry(connection=connection)


def _carry(connection: BaseDatabaseWrapper, **_: Any) -> None:
    if connection.vendor == "postgresql" and connection.alias in aliases() and not _carriers(connection):
        # At the front: `with connection.execute_wrapper(...)` removes the last one when it ends.
        connection.execute_wrappers.insert(0, Carrier(connection))


def _carriers(connection: BaseDatabaseWrapper) -> list[Carrier]:
    return [wrapper for wrapper in connection.execute_wrappers if isinstance(wrapper, Carrier)]


def _status(session: Any) -> int:
    return int(session.info.transaction_status)
