"""`manage.py flush`, which TransactionTestCase calls after each test: it also deletes the events of these rows."""

from typing import Any

from django.core.management.commands import flush
from django.db import connections
from django.db.backends.base.base import BaseDatabaseWrapper

from bridge.database.statement import statement
from django_app.database import aliases

_MAY_DELETE = statement("may_delete_events", "django_app")
_DEAD_LETTERS = statement("delete_dead_letters", "django_app")
_EVENTS = statement("delete_events", "django_app")


class Command(flush.Command):
    def handle(self, **options: Any) -> None:
        connection = connections[options["database"]]
        if connection.alias not in aliases() or connection.vendor != "postgresql":
            super().handle(**options)
            return
        tables = connection.introspection.django_table_names(only_existing=True, include_views=False)

        def with_the_events(execute: Any, sql: Any, params: Any, many: bool, context: Any) -> Any:
            result = execute(sql, params, many, context)
            # This runs in the transaction of the flush, and only if the user has answered "Are you sure?" with yes.
            if isinstance(sql, str) and sql.startswith("TRUNCATE "):
                self._delete_events(connection, tables)
            return result

        with connection.execute_wrapper(with_the_events):
            super().handle(**options)

    def _delete_events(self, connection: BaseDatabaseWrapper, tables: list[str]) -> None:
        with connection.cursor() as cursor:
            cursor.execute(_MAY_DELETE)
            match cursor.fetchone():
                case (True,):
                    quoted = [connection.ops.quote_name(table) for table in tables]
                    for delete in (_DEAD_LETTERS, _EVENTS):
                        cursor.execute(delete, {"tables": quoted})
                case (False,):
                    self.stderr.write(
                        "The events of the flushed tables stay: this role has no right to delete from bridge.event."
                    )
