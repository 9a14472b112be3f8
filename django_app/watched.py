"""Watched: the tables of the installed watches, and the keys that the events of an object have in them."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from django.db import models
from django.db.backends.base.base import BaseDatabaseWrapper

from bridge.database.statement import statement
from django_app.row_key import row_keys

_TABLES = statement("read_watched_tables", "django_app")

Model = type[models.Model]


@dataclass(frozen=True)
class Watched:
    """The table of a watch, and the columns whose values are the keys of its events."""

    watch: str
    schema: str
    table: str
    is_visible: bool
    key: tuple[str, ...]

    def is_of(self, model: Model) -> bool:
        schema, table = _place(model)
        return table == self.table and (self.is_visible if schema is None else schema == self.schema)


def watched(connection: BaseDatabaseWrapper) -> dict[str, Watched]:
    """Returns the watched tables by watch, also of removed watches, whose events are still in the log."""
    with connection.cursor() as cursor:
        cursor.execute(_TABLES)
        return {row[0]: Watched(row[0], row[1], row[2], row[3], tuple(row[4])) for row in cursor.fetchall()}


def by_home(model: Model, found: Iterable[Watched]) -> dict[Model, list[Watched]]:
    """Returns the watches of the model's own table and of its parents' tables. An inherited field is a column of the
    parent's table, and a proxy has the table of its parent."""
    rest = list(found)
    homes: dict[Model, list[Watched]] = {}
    for home in (model, *model._meta.get_parent_list()):
        own = [each for each in rest if each.is_of(home)]
        rest = [each for each in rest if each not in own]
        if own:
            homes[home] = own
    return homes


def keys_of(connection: BaseDatabaseWrapper, homes: Mapping[Model, Iterable[Watched]], pk: Any) -> dict[str, str]:
    """Returns the key, as JSON, that the events of this object have in each watch.

    A watch with a key of other columns needs the object. Its events are left out if the object is gone.
    """
    keys: dict[str, str] = {}
    for home, listed in homes.items():
        keys |= row_keys(connection, home, pk, {each.watch: each.key for each in listed})
    return keys


def _place(model: Model) -> tuple[str | None, str]:
    """Returns schema and table of a model. Django takes '"schema"."table"' as it is."""
    name = model._meta.db_table
    if name.startswith('"') and name.endswith('"'):
        schema, dot, table = name[1:-1].partition('"."')
        return (schema, table) if dot else (None, schema)
    return None, name
