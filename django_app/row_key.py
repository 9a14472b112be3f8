"""Row key: the keys that the events of one row have, as the database writes them."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from django.db import models, transaction
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.backends.utils import CursorWrapper
from psycopg import sql

from bridge.database.statement import statement
from django_app.declarations.table import quoted

_ZONE = statement("read_time_zone", "django_app")
_SET_ZONE = statement("set_time_zone", "django_app")
_AS_JSON = (
    "case pg_catalog.pg_typeof({0}) when 'pg_catalog.numeric'::pg_catalog.regtype "
    "then pg_catalog.to_jsonb(({0})::pg_catalog.text) else pg_catalog.to_jsonb({0}) end"
)
"""A value as the triggers write it: numeric as text."""


def row_keys(
    connection: BaseDatabaseWrapper, model: type[models.Model], pk: Any, columns: Mapping[str, Sequence[str]]
) -> dict[str, str]:
    """Returns the row's key in each watch, as JSON. `columns` has the columns of the watch's key.

    A key of other columns than the primary key needs the row: it is left out if the row does not exist.
    """
    values = prepared(connection, model, pk)
    of_pk = {watch: key for watch, key in columns.items() if set(key) <= values.keys()}
    with _as_triggers(connection) as cursor:
        cast = sql.SQL(", ").join(
            sql.SQL("cast({} as {}) as {}").format(sql.Placeholder(), sql.SQL(kind), sql.Identifier(column))
            for column, (kind, _) in values.items()
        )
        keys = _read(cursor, of_pk, sql.SQL("(select {}) as t").format(cast), values)
        same = sql.SQL(" and ").join(
            sql.SQL("t.{} = {}").format(sql.Identifier(column), sql.Placeholder()) for column in values
        )
        table = sql.SQL("{} as t where {}").format(sql.SQL(quoted(model._meta.db_table)), same)
        others = {watch: key for watch, key in columns.items() if watch not in of_pk and key}
        return keys | _read(cursor, others, table, values)


def prepared(connection: BaseDatabaseWrapper, model: type[models.Model], pk: Any) -> dict[str, tuple[str, Any]]:
    """Returns the type and the value of each column of the primary key, as the database takes them."""
    fields = model._meta.pk_fields
    values = pk if len(fields) > 1 else (pk,)
    return {
        str(field.column): (str(field.db_type(connection)), field.get_db_prep_value(value, connection))
        for field, value in zip(fields, values, strict=True)
    }


@contextmanager
def _as_triggers(connection: BaseDatabaseWrapper) -> Iterator[CursorWrapper]:
    """Gives a cursor whose session writes times as the triggers do, in UTC."""
    with transaction.atomic(using=connection.alias), connection.cursor() as cursor:
        cursor.execute(_ZONE)
        (zone,) = cursor.fetchone()
        cursor.execute(_SET_ZONE, {"zone": "UTC"})
        yield cursor
        cursor.execute(_SET_ZONE, {"zone": zone})


def _read(
    cursor: CursorWrapper,
    columns: Mapping[str, Sequence[str]],
    source: sql.Composable,
    values: Mapping[str, tuple[str, Any]],
) -> dict[str, str]:
    if not columns:
        return {}
    lists = sql.SQL(", ").join(
        sql.SQL("pg_catalog.jsonb_build_array({})::pg_catalog.text").format(
            sql.SQL(", ").join(sql.SQL(_AS_JSON).format(sql.Identifier("t", column)) for column in key)
        )
        for key in columns.values()
    )
    cursor.execute(sql.SQL("select {} from {}").format(lists, source), [value for _, value in values.values()])
    row = cursor.fetchone()
    return dict(zip(columns, row, strict=True)) if row else {}
