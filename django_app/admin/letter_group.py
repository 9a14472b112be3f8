"""Letter group: dead letters with one reason, so that a person can decide about all of them at once."""

from dataclasses import dataclass
from typing import Any

from django.contrib import admin
from django.contrib.admin.options import IncorrectLookupParameters
from django.db import connections
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.safestring import SafeString

from bridge.database.statement import statement
from django_app.admin.event_filter import StreamFilter, WatchFilter
from django_app.admin.paginator import MOST
from django_app.admin.show import moment
from django_app.admin.shown import query, shown

_REASONS = statement("count_reasons", "django_app")


@dataclass(frozen=True)
class Group:
    reason: str
    watch: str
    number: int
    newest: SafeString | str

    @property
    def query(self) -> str:
        return query(reason=self.reason, watch=self.watch)


def groups() -> list[Group]:
    """Returns the largest groups."""
    with connections[shown()].cursor() as cursor:
        cursor.execute(_REASONS, {"most": MOST})
        return [Group(reason, watch, number, moment(newest)) for reason, watch, number, newest in cursor.fetchall()]


class ReasonFilter(admin.SimpleListFilter):
    """The reason, which the table of groups sets. It is shown only where it is set."""

    title = "reason"
    parameter_name = "reason"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        reason = request.GET.get("reason", "")
        return [(reason, reason)] if reason else []

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        reason = self.value()
        if reason and "\0" in reason:
            raise IncorrectLookupParameters
        return queryset.filter(reason=reason) if reason else queryset


class LetterWatchFilter(WatchFilter):
    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        return queryset.filter(**self.conditions())


class LetterStreamFilter(StreamFilter):
    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        return queryset.filter(**self.conditions())
