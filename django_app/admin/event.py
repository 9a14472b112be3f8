"""The admin pages of events, which are read-only."""

from typing import Any, ClassVar

from django.contrib import admin
from django.contrib.admin.sites import AdminSite
from django.contrib.admin.utils import quote, unquote
from django.db.models import QuerySet
from django.http import HttpRequest
from django.urls import path
from django.utils.html import format_html
from django.utils.safestring import SafeString

from django_app.admin import log, tab, timeline
from django_app.admin.base import ReadOnlyAdmin
from django_app.admin.database_filter import DatabaseFilter
from django_app.admin.difference import differences
from django_app.admin.event_filter import (
    BeforeFilter,
    OperationFilter,
    StreamFilter,
    TimeFilter,
    TransactionFilter,
    UserFilter,
    WatchFilter,
)
from django_app.admin.event_list import EventList
from django_app.admin.fate import badge, story
from django_app.admin.log import Logged
from django_app.admin.result import has_backend, states
from django_app.admin.row import Rows
from django_app.admin.show import NOTHING, key_text, moment, pretty
from django_app.admin.shown import anchor, link
from django_app.models import Event


@admin.register(Event)
class EventAdmin(ReadOnlyAdmin):
    needs = log.NEEDS
    list_display = ("number", "time", "watch_link", "operation", "key_values", "fate", "user", "transaction")
    list_filter = (
        DatabaseFilter,
        WatchFilter,
        StreamFilter,
        OperationFilter,
        TimeFilter,
        UserFilter,
        TransactionFilter,
        BeforeFilter,
    )
    search_fields = ("key",)
    search_help_text = "Search for a value of the key, such as 42."
    sortable_by = ()
    list_per_page = 50
    actions = None
    show_full_result_count = False
    show_facets = admin.ShowFacets.NEVER
    fields: ClassVar[tuple[str, ...]] = (
        "watch_link", "operation", "row", "time", "fate_told", "task", "state", "user", "transaction", "stream",
        "changes", "context_told", "recorded",
    )  # fmt: skip
    readonly_fields = fields

    def own_urls(self) -> list[Any]:
        # Here all models of this site are registered, since its URLs are needed.
        tab.attach(self.admin_site)
        view = self.admin_site.admin_view(self.timeline_view)
        return [path("of/<str:label>/<path:object_id>/", view, name="bridge_event_timeline")]

    def timeline_view(self, request: HttpRequest, label: str, object_id: str) -> Any:
        return self.refusal(request) or timeline.page(request, self, label, unquote(object_id))

    def get_changelist(self, request: HttpRequest, **_: Any) -> type[EventList]:
        return EventList

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Any], search_term: str
    ) -> tuple[QuerySet[Any], bool]:
        return queryset, False  # EventList searches

    def get_object(self, request: HttpRequest, object_id: str, from_field: str | None = None) -> Any:
        found = log.find(object_id)
        if found is None:
            return None
        event = found.event
        event.logged = found  # type: ignore[attr-defined]  # the fields below show it
        event.rows = Rows(self.admin_site, request)  # type: ignore[attr-defined]
        return event

    def changeform_view(
        self, request: HttpRequest, object_id: Any = None, form_url: str = "", extra_context: Any = None
    ) -> Any:
        found = None if self.refusal(request) or object_id is None else log.find(unquote(object_id))
        links = [] if found is None else _links(self.admin_site, request, found)
        return super().changeform_view(request, object_id, form_url, {**(extra_context or {}), "bridge_links": links})

    @admin.display(description="id")
    def number(self, each: Any) -> int:
        return _logged(each).event.id

    @admin.display(description="watch")
    def watch_link(self, each: Any) -> str:
        event = _logged(each).event
        if event.op == "send":
            return format_html("{}", _logged(each).task or NOTHING)
        return anchor(self.admin_site, event.watch, "watch_change", quote(event.watch))

    @admin.display(description="operation")
    def operation(self, each: Any) -> str:
        return _logged(each).event.op

    @admin.display(description="key")
    def key_values(self, each: Any) -> str:
        return key_text(_logged(each).key)

    @admin.display(description="row")
    def row(self, event: Any) -> SafeString | str:
        found = _logged(event)
        url = event.rows.url(found.event.watch, found.event.op, found.key)
        text = key_text(found.key)
        return text if url is None else format_html('<a href="{}">{}</a>', url, text)

    @admin.display(description="time")
    def time(self, each: Any) -> SafeString | str:
        return moment(_logged(each).at)

    @admin.display(description="fate")
    def fate(self, each: Any) -> SafeString:
        return badge(_logged(each))

    @admin.display(description="fate")
    def fate_told(self, event: Any) -> SafeString:
        found = _logged(event)
        if found.fate != "dead":
            return story(found)
        way = anchor(self.admin_site, "Retry, edit or discard it", "deadletter_change", str(found.event.id))
        return format_html("{} {}", story(found), way)

    @admin.display(description="user")
    def user(self, each: Any) -> str:
        return _logged(each).user or NOTHING

    @admin.display(description="transaction")
    def transaction(self, each: Any) -> SafeString:
        xid = _logged(each).event.xid
        return anchor(self.admin_site, xid, "event_changelist", xid=xid)

    @admin.display(description="task")
    def task(self, event: Any) -> SafeString:
        found = _logged(event)
        return format_html("{} <code>{}</code>", found.task or NOTHING, found.task_id or "")

    @admin.display(description="state of the task")
    def state(self, event: Any) -> str:
        if not has_backend():
            return "not known: Celery has no result backend"
        found = _logged(event)
        return states([found.task_id]).get(str(found.task_id), "not known: the result backend does not have it")

    @admin.display(description="changes")
    def changes(self, event: Any) -> SafeString | str:
        return timeline.table(differences(_logged(event).data)) or NOTHING

    @admin.display(description="context")
    def context_told(self, event: Any) -> SafeString | str:
        return pretty(_logged(event).context)

    @admin.display(description="recorded data")
    def recorded(self, event: Any) -> SafeString | str:
        return pretty(_logged(event).data)


def _logged(each: Any) -> Logged:
    """Returns the event: the list has it as it is, and the page of one event has it in the object."""
    found: Logged = getattr(each, "logged", each)
    return found


def _links(site: AdminSite, request: HttpRequest, found: Logged) -> list[tuple[str, str]]:
    rows = Rows(site, request)
    links = [("Changes of this transaction", link(site, "event_changelist", xid=found.event.xid))]
    url = rows.timeline(found.event.watch, found.key)
    return [("Changes of this row", url), *links] if url else links
