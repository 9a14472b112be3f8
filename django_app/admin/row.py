"""Row: the object of a model that an event is about, and the events of an object."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from django.apps import apps
from django.contrib.admin.sites import AdminSite
from django.contrib.admin.utils import quote
from django.db import connections, models
from django.http import HttpRequest
from django.urls import NoReverseMatch, reverse

from bridge.database.statement import statement
from django_app.admin.shown import link, shown
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


def watched() -> dict[str, Watched]:
    """Returns the watched tables by watch."""
    with connections[shown()].cursor() as cursor:
        cursor.execute(_TABLES)
        return {row[0]: Watched(row[0], row[1], row[2], row[3], tuple(row[4])) for row in cursor.fetchall()}


class Rows:
    """Finds the admin page of the row of an event, for one request."""

    def __init__(self, site: AdminSite, request: HttpRequest) -> None:
        self._site = site
        self._request = request
        self._watched = watched()
        self._models: dict[str, Model | None] = {}

    def url(self, watch: str, op: str, key: Any) -> str | None:
        """Returns the address of the row's page; None if it has none, or if this user may not see it."""
        model = self.model(watch)
        if model is None or op in ("delete", "truncate"):
            return None
        value = self.value(watch, key)
        return None if value is None else self._page(model, "change", quote(value))

    def timeline(self, watch: str, key: Any) -> str | None:
        """Returns the address of the page with the changes of the row."""
        model = self.model(watch)
        value = self.value(watch, key)
        if model is None or value is None:
            return None
        return timeline_url(self._site, model, value)

    def model(self, watch: str) -> Model | None:
        """Returns the model of a watch that has pages in this admin."""
        if watch not in self._models:
            found = self._watched.get(watch)
            self._models[watch] = None if found is None else _model(self._site, found)
        return self._models[watch]

    def value(self, watch: str, key: Any) -> str | None:
        """Returns the primary key in the key of an event, as the address of a page has it."""
        model, found = self.model(watch), self._watched.get(watch)
        if model is None or found is None or not isinstance(key, list) or len(key) != len(found.key):
            return None
        column = model._meta.pk.column
        if column not in found.key:
            return None
        value = key[found.key.index(column)]
        return None if value is None else str(value)

    def _page(self, model: Model, page: str, *arguments: str) -> str | None:
        if not self._site._registry[model].has_view_or_change_permission(self._request):
            return None
        options = model._meta
        try:
            return reverse(f"{self._site.name}:{options.app_label}_{options.model_name}_{page}", args=arguments)
        except NoReverseMatch:
            return None


def is_watched_by(model: Model, found: Watched) -> bool:
    """Whether this is a watch of one of the model's tables."""
    return any(found.is_of(each) for each in (model, *model._meta.get_parent_list()))


def keys_of(model: Model, pk: str, found: Iterable[Watched]) -> dict[str, str]:
    """Returns the key, as JSON, that the events of this object have in each watch of its tables.

    A watch with a key of other columns needs the object; its events are left out if the object is gone.
    """
    keys: dict[str, str] = {}
    rest = list(found)
    for home in (model, *model._meta.get_parent_list()):
        columns = {each.watch: each.key for each in rest if each.is_of(home)}
        rest = [each for each in rest if each.watch not in columns]
        if columns:
            keys |= row_keys(connections[shown()], home, home._meta.pk.to_python(pk), columns)
    return keys


def timeline_url(site: AdminSite, model: Model, pk: object, using: str | None = None) -> str | None:
    try:
        return link(site, "event_timeline", model._meta.label_lower, quote(str(pk)), using=using)
    except NoReverseMatch:
        return None


def _model(site: AdminSite, found: Watched) -> Model | None:
    """Returns the model of this table that the admin has: a proxy only if the model itself has no page."""
    models_of_table = [model for model in apps.get_models() if model in site._registry and found.is_of(model)]
    return min(models_of_table, key=lambda model: bool(model._meta.proxy), default=None)


def _place(model: Model) -> tuple[str | None, str]:
    """Returns schema and table of a model. Django takes '"schema"."table"' as it is."""
    name = model._meta.db_table
    if name.startswith('"') and name.endswith('"'):
        schema, dot, table = name[1:-1].partition('"."')
        return (schema, table) if dot else (None, schema)
    return None, name
