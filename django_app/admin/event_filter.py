"""Event filter: the filters of the list of events. Each gives conditions for list_events.sql."""

import json
import re
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any

from django.conf import settings
from django.contrib import admin
from django.contrib.admin.options import IncorrectLookupParameters
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils import timezone
from django.utils.dateparse import parse_datetime

from django_app.admin.log import is_xid
from django_app.admin.people import keys
from django_app.admin.shown import shown
from django_app.models import OPERATIONS, Stream, Watch

_LONGEST = 200
_PERIODS = {"5m": timedelta(minutes=5), "1h": timedelta(hours=1), "24h": timedelta(hours=24)}
_PERIOD_NAMES = {"5m": "Past 5 minutes", "1h": "Past hour", "24h": "Past 24 hours"}


class ChoiceFilter(admin.SimpleListFilter):
    """A filter whose value is one condition."""

    def conditions(self) -> dict[str, Any]:
        value = self.value()
        if value is not None and "\0" in value:
            raise IncorrectLookupParameters
        return {str(self.parameter_name): value} if value else {}

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        return queryset


class WatchFilter(ChoiceFilter):
    """The names come from the few watches, not from the many events."""

    title = "watch"
    parameter_name = "watch"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [(name, name) for name in Watch.objects.using(shown()).values_list("name", flat=True)]


class StreamFilter(ChoiceFilter):
    title = "stream"
    parameter_name = "stream"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        names = list(Stream.objects.using(shown()).values_list("name", flat=True))
        return [(name, name) for name in names] if len(names) > 1 or "stream" in request.GET else []


class OperationFilter(ChoiceFilter):
    title = "operation"
    parameter_name = "op"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [*OPERATIONS, ("send", "send")]


class TransactionFilter(ChoiceFilter):
    """The changes of one transaction. It is shown only where a link has set it."""

    title = "transaction"
    parameter_name = "xid"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        xid = request.GET.get("xid", "")
        return [(xid, xid)] if xid else []

    def conditions(self) -> dict[str, Any]:
        xid = self.value()
        if not xid:
            return {}
        if not is_xid(xid):
            raise IncorrectLookupParameters
        return {"before": xid, "after": xid}


class BeforeFilter(ChoiceFilter):
    """The part of the log before a transaction, where a search goes on. It is shown only where a link has set it."""

    title = "search before transaction"
    parameter_name = "before"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        xid = request.GET.get("before", "")
        return [(xid, xid)] if xid else []

    def conditions(self) -> dict[str, Any]:
        xid = self.value()
        if xid and not is_xid(xid):
            raise IncorrectLookupParameters
        return {"before": xid} if xid else {}


class UserFilter(ChoiceFilter):
    """The user in the context, written into a field: nothing lists the users of the log."""

    title = "user"
    parameter_name = "user"
    template = "admin/bridge/text_filter.html"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [("", "")]  # a filter without lookups is not shown

    def choices(self, changelist: Any) -> Iterator[Any]:
        yield {"value": self.value() or "", "others": _others(changelist, "user")}

    def conditions(self) -> dict[str, Any]:
        user = self.value()
        if user and len(user) > _LONGEST:
            raise IncorrectLookupParameters  # PostgreSQL refuses a regular expression of any length
        return {"user": user_pattern(user, *keys(user))} if user else {}


class TimeFilter(admin.ListFilter):
    """The time of the event: a period up to now, or from and until."""

    title = "time"
    template = "admin/bridge/time_filter.html"

    def __init__(self, request: HttpRequest, params: dict[str, Any], model: Any, model_admin: Any) -> None:
        super().__init__(request, params, model, model_admin)
        self._given = {name: _last(params.pop(name)) for name in self.expected_parameters() if name in params}
        self.used_parameters.update({name: value for name, value in self._given.items() if value})

    def expected_parameters(self) -> list[str | None]:
        return ["since", "until"]

    def has_output(self) -> bool:
        return True

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        return queryset

    def choices(self, changelist: Any) -> Iterator[Any]:
        since, until = self._given.get("since", ""), self._given.get("until", "")
        yield {
            "display": "Any time",
            "selected": not since and not until,
            "query_string": changelist.get_query_string(remove=["since", "until"]),
        }
        for period, name in _PERIOD_NAMES.items():
            yield {
                "display": name,
                "selected": since == period and not until,
                "query_string": changelist.get_query_string({"since": period}, ["until"]),
            }
        yield {
            "is_form": True,
            "since": "" if since in _PERIODS else since,
            "until": until,
            "others": _others(changelist, "since", "until"),
        }

    def conditions(self) -> dict[str, Any]:
        return {name: _time(value) for name, value in self._given.items() if value}


def key_conditions(term: str) -> dict[str, Any]:
    """Returns the conditions of a search: the term is one of the key's texts or other values, or the whole key."""
    text = term.strip()[:_LONGEST]
    if not text:
        return {}
    values: list[Any] = [[text]]
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        pass
    else:
        values.append(value if isinstance(value, list) else [value])
    return {"keys": [text for text in map(_jsonb, values) if text is not None]}


def user_pattern(*users: str) -> str:
    """Returns a regular expression for a context with one of these users: it is a text, and may not be JSON."""
    forms = {json.dumps(user, ensure_ascii=ascii_only)[1:-1] for user in users for ascii_only in (True, False)}
    texts = "|".join(re.sub(r"([^\w\s])", r"\\\1", form) for form in sorted(forms))
    numbers = "|".join(form for form in sorted(forms) if form.isascii() and form.isdecimal())
    return rf'"user"\s*:\s*("({texts})"|({numbers})\s*[,}}])' if numbers else rf'"user"\s*:\s*"({texts})"'


def _jsonb(value: Any) -> str | None:
    """Returns the JSON text; None if PostgreSQL would not take it."""
    try:
        text = json.dumps(value, allow_nan=False)
    except (ValueError, RecursionError):
        return None
    return None if re.search(r"\\u(0000|[dD][89a-fA-F])", text) else text


def _time(text: str) -> datetime:
    if text in _PERIODS:
        return timezone.now() - _PERIODS[text]
    try:
        at = parse_datetime(text)
        if at is not None and timezone.is_naive(at) == bool(settings.USE_TZ):
            at = timezone.make_aware(at) if settings.USE_TZ else timezone.make_naive(at)
    except (ValueError, OverflowError):  # at the ends of Python's range
        at = None
    if at is None:
        raise IncorrectLookupParameters
    return at


def _last(value: Any) -> str:
    return str(value[-1]) if isinstance(value, list) else str(value)


def _others(changelist: Any, *own: str) -> list[tuple[str, str]]:
    """Returns the parameters of the other filters, which a form has to repeat."""
    return [
        (name, value)
        for name, values in changelist.filter_params.items()
        if name not in own
        for value in (values if isinstance(values, list) else [values])
    ]
