"""Base: what the admin pages share."""

from typing import Any, ClassVar

from django.contrib import admin, messages
from django.contrib.admin.options import IncorrectLookupParameters
from django.contrib.admin.views.main import ERROR_FLAG, ChangeList
from django.contrib.auth import get_permission_codename
from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponseRedirect
from django.template.response import TemplateResponse

from django_app.admin.crumbs import crumbs
from django_app.admin.rights import Needs
from django_app.admin.shown import choosing, query, shown

_WRONG = (
    "The address has a filter that this list does not have, or a value that can't be used. The whole list is shown."
)

# Django's admin classes are generic only in the type stubs, not at run time, so the type arguments are left out.


class FilteredList(ChangeList):
    """A list that has the filters of its page only.

    Django's lists also take lookups of all fields. Those read much, fail on values of another type, and reveal values
    that the page does not show.
    """

    def get_filters(self, request: HttpRequest) -> Any:
        if any("\0" in value for values in self.filter_params.values() for value in values):
            raise IncorrectLookupParameters
        found = super().get_filters(request)
        if found[2]:
            raise IncorrectLookupParameters
        return found


class ReadOnlyAdmin(admin.ModelAdmin):  # type: ignore[type-arg]
    needs: ClassVar[Needs] = Needs()
    """What the pages read. A page that the database's role may not read says so."""

    class Media:
        css: ClassVar[dict[str, tuple[str, ...]]] = {"all": ("bridge/admin.css",)}

    def get_urls(self) -> list[Any]:
        patterns = [*self.own_urls(), *super().get_urls()]
        for each in patterns:
            each.callback = choosing(each.callback)
        return patterns

    def own_urls(self) -> list[Any]:
        """Returns the URLs of the pages that Django's admin does not have."""
        return []

    def get_changelist(self, request: HttpRequest, **_: Any) -> type[ChangeList]:
        return FilteredList

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        return super().get_queryset(request).using(shown())

    def get_object(self, request: HttpRequest, object_id: str, from_field: str | None = None) -> Any:
        # PostgreSQL takes no text with the character NUL, so no key has it.
        return None if "\0" in object_id else super().get_object(request, object_id, from_field)

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        # In Django the permission to change an object includes viewing it. Here nobody changes anything.
        return bool(request.user.has_perm(f"{self.opts.app_label}.{get_permission_codename('view', self.opts)}"))

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def changelist_view(self, request: HttpRequest, extra_context: Any = None) -> Any:
        answer = self.refusal(request) or super().changelist_view(request, extra_context)
        if isinstance(answer, HttpResponseRedirect) and answer.url == f"{request.path}?{ERROR_FLAG}=1":
            # Django leads from a wrong filter to the whole list, without a word and without the chosen database.
            self.message_user(request, _WRONG, messages.WARNING)
            return HttpResponseRedirect(request.path + query(**{ERROR_FLAG: "1"}))
        return answer

    def changeform_view(
        self, request: HttpRequest, object_id: Any = None, form_url: str = "", extra_context: Any = None
    ) -> Any:
        return self.refusal(request) or super().changeform_view(request, object_id, form_url, extra_context)

    def delete_view(self, request: HttpRequest, object_id: str, extra_context: Any = None) -> Any:
        raise PermissionDenied

    def history_view(self, request: HttpRequest, object_id: str, extra_context: Any = None) -> Any:
        return self.refusal(request) or super().history_view(request, object_id, extra_context)

    def refusal(self, request: HttpRequest, *more: Needs) -> TemplateResponse | None:
        """Returns the page that says which rights are missing in the database, and how to grant them; else None."""
        if not self.has_view_permission(request):
            raise PermissionDenied
        lack = sum(more, self.needs).missing(shown())
        if lack is None:
            return None
        way = crumbs(self.admin_site, self.opts)
        context = {**self.admin_site.each_context(request), "title": lack.title, "lack": lack, "crumbs": way}
        request.current_app = self.admin_site.name
        return TemplateResponse(request, "admin/bridge/missing_rights.html", context, status=lack.status)
