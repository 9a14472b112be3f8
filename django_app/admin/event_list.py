"""Event list: Django's list of objects, which reads the log with its own statements and never counts all of it."""

from datetime import timedelta
from typing import Any

from django.contrib.admin.options import IncorrectLookupParameters
from django.contrib.admin.utils import quote
from django.core.paginator import InvalidPage, Paginator
from django.db import connections
from django.http import HttpRequest
from django.urls import reverse

from django_app.admin import log
from django_app.admin.base import FilteredList
from django_app.admin.event_filter import key_conditions
from django_app.admin.row import Rows
from django_app.admin.shown import shown
from django_app.log_index import is_complete

SHORT = timedelta(hours=6)
"""The longest period whose events are found by their time; a longer one may be a large part of the log."""


class EventList(FilteredList):
    rows: Rows
    horizon: log.Horizon | None = None
    """Where the search ended, if it did not reach the end of the log."""
    older_url = ""

    def get_results(self, request: HttpRequest) -> None:
        conditions: dict[str, Any] = key_conditions(self.query)
        for each in self.filter_specs:
            conditions |= each.conditions()  # type: ignore[attr-defined]  # all filters of EventAdmin have it
        skip = (self.page_num - 1) * self.list_per_page
        if self.page_num < 1 or skip >= log.MOST:
            raise IncorrectLookupParameters
        depth = log.DEPTH if conditions else skip + self.list_per_page
        if _is_short(conditions) and is_complete(connections[shown()]):
            conditions["by_time"] = True
        result_list = log.read(conditions, self.list_per_page, skip, depth)
        if conditions:
            total = min(result_list[0].total, log.MOST) if result_list else 0
            self.horizon = None if "by_time" in conditions else log.horizon(conditions, depth)
        else:
            total = log.count()
        self._page(result_list, total)
        self.rows = Rows(self.model_admin.admin_site, request)
        if self.horizon is not None and "after" not in conditions:
            self.older_url = self.get_query_string({"before": self.horizon.older(conditions.get("before"))})

    def _page(self, result_list: list[log.Logged], total: int) -> None:
        self.paginator = Paginator(range(total), self.list_per_page)
        if self.page_num > 1 and not result_list:
            raise IncorrectLookupParameters from InvalidPage()
        self.result_count = total
        self.result_list = result_list  # no queryset: nothing here asks it
        self.multi_page = total > self.list_per_page
        self.show_full_result_count = self.show_admin_actions = self.can_show_all = False
        self.full_result_count = None

    def url_for_result(self, result: Any) -> str:
        # Django adds the filters of this list, and with them the database.
        return reverse(f"{self.model_admin.admin_site.name}:bridge_event_change", args=(quote(result.pk),))


def _is_short(conditions: dict[str, Any]) -> bool:
    since, until = conditions.get("since"), conditions.get("until")
    return since is not None and until is not None and until - since <= SHORT
