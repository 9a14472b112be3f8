"""The admin page of streams: who serves each of them, what waits, and for how long."""

from typing import Any, ClassVar

from django.contrib import admin
from django.core.paginator import Paginator
from django.db import connections
from django.http import HttpRequest
from django.utils.html import format_html
from django.utils.safestring import SafeString

from bridge.database.statement import statement
from bridge.operations.streams import StreamStatus
from django_app.admin.base import FilteredList, ReadOnlyAdmin
from django_app.admin.database_filter import DatabaseFilter
from django_app.admin.log import fetch
from django_app.admin.rights import Needs
from django_app.admin.show import moment
from django_app.admin.shown import anchor, shown
from django_app.database import bridge_command, stranger
from django_app.findings import findings_in
from django_app.models import Stream

_LIST = statement("list_streams", "django_app")


class StreamState(StreamStatus, frozen=True):
    """A row of bridge.status(). Django's list reads `_meta` and `pk`."""

    _meta: ClassVar[Any] = Stream._meta

    @property
    def pk(self) -> str:
        return self.stream


class StreamList(FilteredList):
    def get_results(self, request: HttpRequest) -> None:
        found = [StreamState(**row) for row in fetch(_LIST, {})]
        self.result_count = self.full_result_count = len(found)
        self.result_list = found  # no queryset: nothing here asks it
        self.paginator = Paginator(found, max(1, len(found)))
        self.multi_page = self.can_show_all = self.show_full_result_count = self.show_admin_actions = False


@admin.register(Stream)
class StreamAdmin(ReadOnlyAdmin):
    needs = Needs(tables=("stream",), functions=("status",))
    list_display = ("stream_link", "state", "waiting", "lag", "dead_letters", "watches", "moved")
    list_display_links = None
    list_filter = (DatabaseFilter,)
    sortable_by = ()
    actions = None
    show_full_result_count = False

    def get_changelist(self, request: HttpRequest, **_: Any) -> type[StreamList]:
        return StreamList

    def changelist_view(self, request: HttpRequest, extra_context: Any = None) -> Any:
        refusal = self.refusal(request)
        if refusal is not None:
            return refusal
        # Another role may not compare the watches; where the request is a transaction, trying it would break that.
        found = findings_in(shown()) if stranger(connections[shown()]) is None else []
        return super().changelist_view(request, {**(extra_context or {}), "bridge_findings": found})

    def get_object(self, request: HttpRequest, object_id: str, from_field: str | None = None) -> None:
        """Returns nothing: a stream has no page of its own."""

    @admin.display(description="stream")
    def stream_link(self, each: Any) -> SafeString:
        return self._link("event", each, each.stream)

    @admin.display(description="state")
    def state(self, each: Any) -> SafeString | str:
        if each.owner_pid is None:
            if not each.watches:
                return "nobody serves it, and nothing watches"
            return f"nobody serves it: start `{bridge_command((shown(),), 'run')}`"
        if each.broker_away_since is not None:
            return format_html(
                "the broker has refused messages since {}: {}", moment(each.broker_away_since), each.broker_error
            )
        return "served, sleeps" if each.asleep else "served"

    @admin.display(description="events that wait")
    def waiting(self, each: Any) -> str:
        removed = f" ({each.of_removed} of removed watches)" if each.of_removed else ""
        return f"{each.waiting}{removed}"

    @admin.display(description="lag")
    def lag(self, each: Any) -> str:
        return f"{each.lag.total_seconds():.1f} s" if each.waiting else "0 s"

    @admin.display(description="dead letters")
    def dead_letters(self, each: Any) -> SafeString | str:
        return self._link("deadletter", each, each.dead_letters) if each.dead_letters else "0"

    @admin.display(description="watches")
    def watches(self, each: Any) -> SafeString | str:
        return self._link("watch", each, each.watches) if each.watches else "0"

    @admin.display(description="position moved")
    def moved(self, each: Any) -> SafeString | str:
        return moment(each.moved_at)

    def _link(self, model: str, each: StreamState, text: object) -> SafeString:
        return anchor(self.admin_site, text, f"{model}_changelist", stream=each.stream)
