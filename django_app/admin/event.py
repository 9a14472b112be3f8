"""The admin page of events, which is read-only."""

import contextlib
import json
from typing import Any

from django.contrib import admin
from django.db.models import Q, QuerySet
from django.http import HttpRequest

from django_app.admin.base import ReadOnlyAdmin
from django_app.admin.paginator import BoundedPaginator
from django_app.database import alias
from django_app.models import Event, Watch


class WatchFilter(admin.SimpleListFilter):
    """Filters events by watch. The names come from the few watches, not from the many events."""

    title = "watch"
    parameter_name = "watch"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [(name, name) for name in Watch.objects.using(alias()).values_list("name", flat=True)]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        return queryset.filter(watch=self.value()) if self.value() else queryset


@admin.register(Event)
class EventAdmin(ReadOnlyAdmin):
    list_display = ("id", "watch", "op", "key", "at", "transaction")
    list_filter = (WatchFilter, "op")
    search_fields = ("key",)
    search_help_text = "Search for a value of the key, such as 42."
    ordering = ("-stream", "-xid", "-id")
    sortable_by = ()
    list_per_page = 50
    paginator = BoundedPaginator
    show_full_result_count = False

    @admin.display(description="transaction")
    def transaction(self, event: Event) -> str:
        return event.xid

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Any], search_term: str
    ) -> tuple[QuerySet[Any], bool]:
        term = search_term.strip()
        if not term:
            return queryset, False
        # The key is a JSON array. The term may be one of its texts or, if it is valid JSON, one of its other values.
        match = Q(key__contains=[term])
        with contextlib.suppress(ValueError):
            match |= Q(key__contains=[json.loads(term)])
        return queryset.filter(match), False
