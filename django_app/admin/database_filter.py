"""Database filter: the choice of the database, beside every list, where the bridge has several."""

from collections.abc import Iterator
from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest

from django_app.admin.shown import PARAMETER, choices
from django_app.database import aliases


class DatabaseFilter(admin.SimpleListFilter):
    """Leads to the list of another database. The values of the other filters mean nothing there, so they end."""

    title = "database"
    parameter_name = PARAMETER

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [(using, using) for using in aliases()[1:]]  # a filter without lookups is not shown

    def choices(self, changelist: Any) -> Iterator[Any]:
        for using, address, is_shown in choices():
            yield {"selected": is_shown, "query_string": address, "display": using}

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        return queryset  # ReadOnlyAdmin.get_queryset() has chosen the database

    def conditions(self) -> dict[str, Any]:
        return {}
