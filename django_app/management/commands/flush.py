"""`manage.py flush`, which TransactionTestCase calls after each test: it also deletes the events of these rows."""

from typing import Any

from django.core.management.commands import flush
from django.db import connections
from django.db.backends.base.base import BaseDatabaseWrapper

from django_app.database import alias

# This reads the system catalogs, since this role may have no rights on the schema: PostgreSQL would refuse a query that
# names it.
_MAY_DELETE = """
    select pg_catalog.bool_and(
        pg_catalog.has_schema_privilege(n.oid, 'usage')
        and pg_catalog.has_table_privilege(c.oid, 'select')
        and (c.relname operator(pg_catalog.=) 'watch' or pg_catalog.has_table_privilege(c.oid, 'delete'))
    )
    from pg_catalog.pg_class as c
    join pg_catalog.pg_namespace as n on n.oid operator(pg_catalog.=) c.relnamespace
    where n.nspname operator(pg_catalog.=) 'bridge'
        and c.relname operator(pg_catalog.=) any (array['event', 'dead_letter', 'watch']::pg_catalog.name[])
"""
_LETTERS = """
    delete from bridge.dead_letter
    where watch operator(pg_catalog.=) any (
        select w.name from bridge.watch as w
        where w.relation::pg_catalog.oid operator(pg_catalog.=) any (%s::pg_catalog.regclass[]::pg_catalog.oid[])
    )
"""
# The flush itself is a change: the event that it starts in a watch on `truncate` stays.
_EVENTS = """
    delete from bridge.event
    where xid operator(pg_catalog.<>) pg_catalog.pg_current_xact_id() and watch operator(pg_catalog.=) any (
        select w.name from bridge.watch as w
        where w.relation::pg_catalog.oid operator(pg_catalog.=) any (%s::pg_catalog.regclass[]::pg_catalog.oid[])
    )
"""


class Command(flush.Command):
    def handle(self, **options: Any) -> None:
        connection = connections[options["database"]]
        if connection.alias != alias() or connection.vendor != "postgresql":
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
                    for statement in (_LETTERS, _EVENTS):
                        cursor.execute(statement, [[connection.ops.quote_name(table) for table in tables]])
                case (False,):
                    self.stderr.write(
                        "The events of the flushed tables stay: this role has no right to delete from bridge.event."
                    )
