"""Row: the pages of the object that an event is about."""

from typing import Any

from django.apps import apps
from django.contrib.admin.sites import AdminSite
from django.contrib.admin.utils import quote
from django.db import connections
from django.http import HttpRequest
from django.urls import NoReverseMatch, reverse

from django_app.admin.shown import link, shown
from django_app.watched import Model, Watched, watched


class Rows:
    """Finds the admin page of the row of an event, for one request."""

    def __init__(self, site: AdminSite, request: HttpRequest) -> None:
        self._site = site
        self._request = request
        self._watched = watched(connections[shown()])
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


def timeline_url(site: AdminSite, model: Model, pk: object, using: str | None = None) -> str | None:
    try:
        return link(site, "event_timeline", model._meta.label_lower, quote(str(pk)), using=using)
    except NoReverseMatch:
        return None


def _model(site: AdminSite, found: Watched) -> Model | None:
    """Returns the model of this table that the admin has: a proxy only if the model itself has no page."""
    models_of_table = [model for model in apps.get_models() if model in site._registry and found.is_of(model)]
    return min(models_of_table, key=lambda model: bool(model._meta.proxy), default=None)
