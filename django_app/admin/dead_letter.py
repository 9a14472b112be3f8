"""The admin pages of dead letters: a person retries them, edits their arguments, or discards them."""

import re
from datetime import datetime
from typing import Any

from django.conf import settings
from django.contrib import admin, messages
from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.contrib.admin.utils import quote, unquote
from django.core.exceptions import BadRequest, PermissionDenied
from django.db.models import QuerySet
from django.http import Http404, HttpRequest, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import path
from django.utils.dateparse import parse_datetime
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.timezone import is_naive

from django_app.admin import decision
from django_app.admin.base import ReadOnlyAdmin
from django_app.admin.crumbs import crumbs
from django_app.admin.database_filter import DatabaseFilter
from django_app.admin.letter_form import ArgumentsForm
from django_app.admin.letter_group import LetterStreamFilter, LetterWatchFilter, ReasonFilter, groups
from django_app.admin.paginator import BoundedPaginator
from django_app.admin.rights import Needs
from django_app.admin.row import Rows
from django_app.admin.show import NOTHING, key_text, moment, parsed, pretty
from django_app.admin.shown import link, shown
from django_app.database import aliases
from django_app.models import DeadLetter

MOST = 10_000
"""The largest number of dead letters that one click decides about."""
SHOWN = 20
"""The number of dead letters that a confirmation page lists."""
_GONE = "These dead letters are gone: nothing was done. The pages of their events show the decision."


@admin.register(DeadLetter)
class DeadLetterAdmin(ReadOnlyAdmin):
    needs = Needs(tables=("dead_letter", "stream", "watch"))
    list_display = ("id", "watch", "op", "key_values", "reason", "time", "failed")
    list_filter = (DatabaseFilter, ReasonFilter, LetterWatchFilter, LetterStreamFilter)
    search_fields = ("watch", "reason")
    sortable_by = ()
    list_per_page = 50
    paginator = BoundedPaginator
    show_full_result_count = False
    show_facets = admin.ShowFacets.NEVER
    actions = ("retry", "discard")
    fields = ("watch", "op", "row", "task", "reason", "time", "failed", "stream", "context_told", "recorded")
    readonly_fields = fields

    def own_urls(self) -> list[Any]:
        def view(name: str, do: Any) -> Any:
            return path(f"<path:object_id>/{name}/", self.admin_site.admin_view(do), name=f"bridge_deadletter_{name}")

        return [view("retry", self.retry_view), view("discard", self.discard_view), view("edit", self.edit_view)]

    def has_retry_permission(self, request: HttpRequest) -> bool:
        return bool(request.user.has_perm("bridge.retry_deadletter"))

    def has_discard_permission(self, request: HttpRequest) -> bool:
        return bool(request.user.has_perm("bridge.discard_deadletter"))

    def has_edit_permission(self, request: HttpRequest) -> bool:
        return bool(request.user.has_perm("bridge.edit_deadletter"))

    @admin.action(description="Retry selected dead letters", permissions=["retry"])
    def retry(self, request: HttpRequest, queryset: QuerySet[Any]) -> Any:
        return self._decide(request, "retry", queryset)

    @admin.action(description="Discard selected dead letters", permissions=["discard"])
    def discard(self, request: HttpRequest, queryset: QuerySet[Any]) -> Any:
        return self._decide(request, "discard", queryset)

    def changelist_view(self, request: HttpRequest, extra_context: Any = None) -> Any:
        refusal = self.refusal(request)
        if refusal is not None:
            return refusal
        if not all(map(_is_number, request.POST.getlist(ACTION_CHECKBOX_NAME))):
            raise BadRequest("The selected dead letters must be numbers.")
        return super().changelist_view(request, {**(extra_context or {}), "bridge_groups": groups()})

    def changeform_view(
        self, request: HttpRequest, object_id: Any = None, form_url: str = "", extra_context: Any = None
    ) -> Any:
        may = {
            "retry": self.has_retry_permission(request),
            "edit": self.has_edit_permission(request),
            "discard": self.has_discard_permission(request),
        }
        titles = {"retry": "Retry", "edit": "Edit arguments and retry", "discard": "Discard"}
        links = [(titles[name], self._url(name, object_id)) for name in titles if may[name] and object_id is not None]
        return super().changeform_view(request, object_id, form_url, {**(extra_context or {}), "bridge_links": links})

    def retry_view(self, request: HttpRequest, object_id: str) -> Any:
        return self._decide_one(request, "retry", object_id, self.has_retry_permission(request))

    def discard_view(self, request: HttpRequest, object_id: str) -> Any:
        return self._decide_one(request, "discard", object_id, self.has_discard_permission(request))

    def edit_view(self, request: HttpRequest, object_id: str) -> Any:
        """Shows the form, then what it would do, and then does it."""
        refusal = self.refusal(request, decision.NEEDS["edit"])
        if not self.has_edit_permission(request):
            raise PermissionDenied
        if refusal is not None:
            return refusal
        if "confirmed" in request.POST and self._is_gone(request, object_id):
            return self._back(request, _GONE, messages.WARNING)
        letter = self._letter(request, object_id)
        call = decision.arguments(letter)
        if call is None:
            text = "The arguments of this dead letter can't be read, or its watch is gone: retry or discard it."
            return self._back(request, text, messages.ERROR)
        refusal = None if call.message is None else self.refusal(request, decision.NEEDS["edit_message"])
        if refusal is not None:
            return refusal
        form = ArgumentsForm(request.POST) if request.method == "POST" else ArgumentsForm.of(call)
        if form.is_bound and form.is_valid() and "confirmed" in request.POST:
            try:
                decision.send_edited(request, letter, call, form.cleaned_data["args"], form.cleaned_data["kwargs"])
            except decision.DecisionError as error:
                form.add_error(None, str(error))
            else:
                return self._back(request, f"The task {call.task} was sent with the new arguments.", messages.SUCCESS)
        context = {"letter": letter, "call": call, "form": form, "to_confirm": form.is_bound and form.is_valid()}
        return self._page(request, "edit", "Edit arguments and retry", context)

    def _decide_one(self, request: HttpRequest, kind: decision.Kind, object_id: str, may: bool) -> Any:
        if not may:
            raise PermissionDenied
        refusal = self.refusal(request, decision.NEEDS[kind])
        if refusal is not None:
            return refusal
        if "confirmed" in request.POST and self._is_gone(request, object_id):
            return self._back(request, _GONE, messages.WARNING)
        return self._decide(request, kind, self.get_queryset(request).filter(pk=self._letter(request, object_id).pk))

    def _decide(self, request: HttpRequest, kind: decision.Kind, queryset: QuerySet[Any]) -> Any:
        """Shows what would be done, and does it when that page is sent."""
        refusal = self.refusal(request, decision.NEEDS[kind])
        if refusal is not None:
            return refusal
        until = _until(request)
        chosen = queryset if until is None else queryset.filter(failed_at__lte=until)
        letters = list(chosen.defer("data", "key", "context").order_by("id")[:MOST])
        if not letters:
            return self._back(request, _GONE, messages.WARNING)
        if "confirmed" in request.POST:
            try:
                done = decision.settle(request, kind, letters)
            except decision.DecisionError as error:
                return self._back(request, f"Nothing was done: {error}", messages.ERROR)
            said = {"retry": "will be published again", "discard": "discarded"}[kind]
            return self._back(request, f"{done} dead letter{'s' * (done != 1)} {said}.", messages.SUCCESS)
        context = {
            "kind": kind,
            "letters": letters[:SHOWN],
            "number": len(letters),
            "hidden": max(0, len(letters) - SHOWN),
            "until": max(letter.failed_at for letter in letters).isoformat(),
            "select_across": request.POST.get("select_across", "0"),
            "selected": request.POST.getlist(ACTION_CHECKBOX_NAME),
            "checkbox": ACTION_CHECKBOX_NAME,
        }
        return self._page(request, "decide", {"retry": "Retry", "discard": "Discard"}[kind], context)

    def _letter(self, request: HttpRequest, object_id: str) -> DeadLetter:
        letter: DeadLetter | None = self.get_object(request, unquote(object_id))
        if letter is None:
            raise Http404("There is no such dead letter: another person may have decided about it.")
        return letter

    def _is_gone(self, request: HttpRequest, object_id: str) -> bool:
        return _is_number(unquote(object_id)) and self.get_object(request, unquote(object_id)) is None

    def get_object(self, request: HttpRequest, object_id: str, from_field: str | None = None) -> Any:
        # Two dead letters may have one id.
        if not _is_number(object_id):
            return None
        letter = self.get_queryset(request).filter(pk=int(object_id)).first()
        if letter is not None:
            letter.rows = Rows(self.admin_site, request)  # the field `row` shows a link
        return letter

    def _page(self, request: HttpRequest, name: str, title: str, context: dict[str, Any]) -> TemplateResponse:
        shared = {**self.admin_site.each_context(request), "opts": self.opts, "title": title, "media": self.media}
        shared["crumbs"] = crumbs(self.admin_site, self.opts, (title, None))
        shared["back_url"] = link(self.admin_site, "deadletter_changelist")
        shared["database"] = shown() if len(aliases()) > 1 else None
        request.current_app = self.admin_site.name
        return TemplateResponse(request, f"admin/bridge/deadletter/{name}.html", {**shared, **context})

    def _back(self, request: HttpRequest, text: str, level: int) -> HttpResponseRedirect:
        self.message_user(request, text, level)
        return HttpResponseRedirect(link(self.admin_site, "deadletter_changelist"))

    def _url(self, name: str, object_id: str) -> str:
        return link(self.admin_site, f"deadletter_{name}", quote(object_id))

    @admin.display(description="key")
    def key_values(self, letter: DeadLetter) -> str:
        return key_text(letter.key)

    @admin.display(description="time")
    def time(self, letter: DeadLetter) -> SafeString | str:
        return moment(letter.at)

    @admin.display(description="failed at")
    def failed(self, letter: DeadLetter) -> SafeString | str:
        return moment(letter.failed_at)

    @admin.display(description="row")
    def row(self, letter: DeadLetter) -> SafeString | str:
        url = letter.rows.url(letter.watch, letter.op, letter.key)  # type: ignore[attr-defined]  # see get_object
        text = key_text(letter.key)
        return text if url is None else format_html('<a href="{}">{}</a>', url, text)

    @admin.display(description="task")
    def task(self, letter: DeadLetter) -> str:
        call = decision.arguments(letter)
        return NOTHING if call is None else call.task

    @admin.display(description="context")
    def context_told(self, letter: DeadLetter) -> SafeString | str:
        return pretty(parsed(letter.context))

    @admin.display(description="recorded data")
    def recorded(self, letter: DeadLetter) -> SafeString | str:
        return pretty(letter.data)


def _is_number(text: str) -> bool:
    return re.fullmatch(r"-?[0-9]{1,18}", text) is not None


def _until(request: HttpRequest) -> datetime | None:
    """Returns the time of the newest dead letter that the person has seen, which the confirmation page sends."""
    text = request.POST.get("until", "")
    try:
        until = parse_datetime(text)
    except ValueError:
        until = None
    if text and (until is None or is_naive(until) == bool(settings.USE_TZ)):
        raise BadRequest("The time of the newest dead letter can't be read.")
    return until
