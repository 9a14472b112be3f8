"""The admin pages of watches, which are read-only: each with the SQL that the database has for it."""

from contextlib import suppress
from typing import Any, ClassVar

from django.contrib import admin
from django.contrib.admin.utils import unquote
from django.db import connections
from django.http import HttpRequest
from django.urls import NoReverseMatch
from django.utils.html import format_html_join
from django.utils.safestring import SafeString

from bridge.database.statement import statement
from django_app.admin.base import ReadOnlyAdmin
from django_app.admin.database_filter import DatabaseFilter
from django_app.admin.rights import Needs
from django_app.admin.show import NOTHING, code, moment, pretty
from django_app.admin.shown import link, shown
from django_app.models import Watch

_SQL = statement("show_watch_sql", "django_app")


@admin.register(Watch)
class WatchAdmin(ReadOnlyAdmin):
    needs = Needs(tables=("watch",))
    list_display = ("name", "relation", "operations", "columns", "task", "stream", "changed", "removed")
    list_filter = (DatabaseFilter, "stream", ("removed_at", admin.EmptyFieldListFilter))
    search_fields = ("name", "task")
    show_facets = admin.ShowFacets.NEVER
    fields: ClassVar[tuple[str, ...]] = (
        "name", "relation", "operations", "columns", "condition", "key", "data", "task", "options_told", "stream",
        "changed", "removed", "triggers", "function",
    )  # fmt: skip
    readonly_fields = ("options_told", "changed", "removed", "triggers", "function")

    def changeform_view(
        self, request: HttpRequest, object_id: Any = None, form_url: str = "", extra_context: Any = None
    ) -> Any:
        links = []
        watch = None if object_id is None or self.refusal(request) else self.get_object(request, unquote(object_id))
        if watch is not None:
            with suppress(NoReverseMatch):  # this site may not have the list of events
                links = [("Events of this watch", link(self.admin_site, "event_changelist", watch=watch.name))]
        return super().changeform_view(request, object_id, form_url, {**(extra_context or {}), "bridge_links": links})

    @admin.display(description="changed at", ordering="changed_at")
    def changed(self, watch: Watch) -> SafeString | str:
        return moment(watch.changed_at)

    @admin.display(description="removed at", ordering="removed_at")
    def removed(self, watch: Watch) -> SafeString | str:
        return moment(watch.removed_at)

    @admin.display(description="options")
    def options_told(self, watch: Watch) -> SafeString | str:
        return pretty(watch.options)

    @admin.display(description="triggers")
    def triggers(self, watch: Watch) -> SafeString | str:
        found = [(code(sql), is_enabled) for kind, _, sql, is_enabled in _sql(watch) if kind == "trigger"]
        disabled = "This trigger is disabled, so it records nothing."
        return format_html_join("", "{}{}", ((sql, "" if on else disabled) for sql, on in found)) or NOTHING

    @admin.display(description="capture function")
    def function(self, watch: Watch) -> SafeString | str:
        found = [code(sql) for kind, _, sql, _ in _sql(watch) if kind == "function"]
        return format_html_join("", "{}", ((each,) for each in found)) or NOTHING


def _sql(watch: Watch) -> list[tuple[str, str, str, bool]]:
    with connections[shown()].cursor() as cursor:
        cursor.execute(_SQL, {"watch": watch.name})
        return list(cursor.fetchall())
