"""Timeline: the changes of one object, newest first."""

from typing import Any

from django.apps import apps
from django.contrib.admin.sites import AdminSite
from django.contrib.admin.utils import quote
from django.core.exceptions import ValidationError
from django.db import connections
from django.http import Http404, HttpRequest
from django.template.loader import render_to_string
from django.template.response import TemplateResponse
from django.urls import NoReverseMatch, reverse
from django.utils.safestring import SafeString
from django.utils.text import Truncator

from django_app.admin import log
from django_app.admin.base import ReadOnlyAdmin
from django_app.admin.crumbs import crumbs
from django_app.admin.difference import Difference, differences
from django_app.admin.fate import badge
from django_app.admin.log import Logged
from django_app.admin.result import has_backend, states
from django_app.admin.row import Model, keys_of, watched
from django_app.admin.show import moment
from django_app.admin.shown import link, query, shown
from django_app.log_index import is_complete

_MOST = 100


def page(request: HttpRequest, admin: ReadOnlyAdmin, label: str, pk: str) -> TemplateResponse:
    model = _model(label)
    keys = _keys(model, pk)
    before = request.GET.get("before", "")
    if before and not log.is_xid(before):
        raise Http404("The parameter `before` is not a transaction.")
    by_key = bool(is_complete(connections[shown()]))
    conditions = {
        "row_watches": list(keys), "row_keys": list(keys.values()), "before": before or None, "by_key": by_key
    }  # fmt: skip
    events = log.read(conditions, _MOST, data=True) if keys else []
    horizon = log.horizon({"before": before or None}) if keys and not by_key else None
    name = _name(model, pk)
    site = admin.admin_site
    object_url = _url(f"{site.name}:{model._meta.app_label}_{model._meta.model_name}_change", quote(pk))
    context = {
        **site.each_context(request),
        "title": f"Changes: {name}",
        "crumbs": crumbs(site, model._meta, (Truncator(name).words(18), object_url), ("Changes", None)),
        "is_watched": bool(keys),
        "changes": _changes(events, site),
        "has_backend": has_backend(),
        "rest": query(before=rest) if (rest := _rest(events, before)) else None,
        "horizon": horizon,
        "older": query(before=horizon.older(before)) if horizon else None,
    }
    request.current_app = site.name
    return TemplateResponse(request, "admin/bridge/timeline.html", context)


def table(found: list[Difference]) -> SafeString:
    """Returns the columns with their old and new values as HTML; an empty text if there are none."""
    return render_to_string("admin/bridge/differences.html", {"differences": found}) if found else SafeString("")


def _rest(events: list[Logged], before: str) -> str | None:
    """Returns where a page with the older changes begins; None if this page has all of them."""
    if not events or events[0].total <= _MOST:
        return None
    return log.Horizon(events[-1].event.xid, events[-1].at).older(before)


def _changes(events: list[Logged], site: AdminSite) -> list[dict[str, Any]]:
    known = states(each.task_id for each in events)
    return [
        {
            "event": each,
            "url": link(site, "event_change", quote(each.pk)),
            "moment": moment(each.at),
            "badge": badge(each),
            "table": table([one for one in differences(each.data) if one.is_changed]),
            "state": known.get(str(each.task_id)),
        }
        for each in events
    ]


def _model(label: str) -> Model:
    try:
        return apps.get_model(label)
    except (LookupError, ValueError) as error:
        raise Http404(f"There is no model {label}.") from error


def _keys(model: Model, pk: str) -> dict[str, str]:
    try:
        return keys_of(model, pk, watched().values())
    except (ValidationError, ValueError) as error:
        raise Http404(f"{pk} is not a key of {model._meta.label}.") from error


def _name(model: Model, pk: str) -> str:
    found = model._default_manager.using(shown()).filter(pk=pk).first()
    return f"{model._meta.verbose_name} {pk} (deleted)" if found is None else str(found)


def _url(name: str, *arguments: str) -> str | None:
    try:
        return reverse(name, args=arguments)
    except NoReverseMatch:
        return None
