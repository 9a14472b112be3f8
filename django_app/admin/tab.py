"""Tab: the link "Changes" on the pages of watched objects.

Nothing has to be added to the project's admin classes. The response of a page keeps its template; a template of ours
extends it and adds the link. So it works with templates and methods of other apps.
"""

from collections.abc import Callable
from contextlib import suppress
from functools import wraps
from typing import Any

from django.contrib.admin import ModelAdmin
from django.contrib.admin.sites import AdminSite
from django.db import models, router
from django.http import HttpRequest, HttpResponse
from django.template.loader import get_template, select_template
from django.template.response import TemplateResponse

from django_app.admin.row import timeline_url
from django_app.database import aliases
from django_app.declarations import registry
from django_app.errors import DeclarationError
from django_app.models import Event

_TEMPLATE = "admin/bridge/watched_change_form.html"
_ATTACHED = "_bridge_tab"

Render = Callable[..., HttpResponse]


def attach(site: AdminSite) -> None:
    """Adds the link to all models of this site that the project watches."""
    for model, model_admin in site._registry.items():
        if not hasattr(model_admin, _ATTACHED) and _is_watched(model):
            setattr(model_admin, _ATTACHED, True)
            model_admin.render_change_form = _with_link(model_admin, model_admin.render_change_form)  # type: ignore[method-assign]


def _with_link(model_admin: "ModelAdmin[Any]", render: Render) -> Render:
    @wraps(render)
    def rendered(request: HttpRequest, context: dict[str, Any], *args: Any, **kwargs: Any) -> HttpResponse:
        response = render(request, context, *args, **kwargs)
        obj = kwargs.get("obj", args[3] if len(args) > 3 else None)
        if obj is None or not isinstance(response, TemplateResponse) or not _may_see(model_admin.admin_site, request):
            return response
        home = router.db_for_read(type(obj), instance=obj)
        url = timeline_url(model_admin.admin_site, type(obj), obj.pk, home)
        if url is not None:
            response.context_data = {
                **(response.context_data or {}),
                "bridge_parent": _loaded(response.template_name),
                "bridge_changes_url": url,
            }
            response.template_name = _TEMPLATE
        return response

    return rendered


def _may_see(site: AdminSite, request: HttpRequest) -> bool:
    events = site._registry.get(Event)
    return events is not None and bool(events.has_view_permission(request))


def _loaded(template: Any) -> Any:
    if isinstance(template, list | tuple):
        return select_template(template)
    return get_template(template) if isinstance(template, str) else template


def _is_watched(model: type[models.Model]) -> bool:
    home = router.db_for_read(model)
    names = {_bare(each._meta.db_table) for each in (model, *model._meta.get_parent_list())}
    return home in aliases() and not names.isdisjoint(_declared_tables(home))


def _declared_tables(home: str) -> set[str]:
    found = set()
    for declaration in registry.declared():
        if declaration.home != home:
            continue
        with suppress(DeclarationError):  # a system check reports it
            found.add(_bare(declaration.watch().table))
    return found


def _bare(table: str) -> str:
    """Returns the name of a table without schema and quotes."""
    return table.replace('"."', ".").strip('"').rpartition(".")[2].strip('"')
