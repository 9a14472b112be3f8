"""Timeline: the changes of one object, newest first."""

from typing import Any

from django.apps import apps
from django.contrib.admin.sites import AdminSite
from django.contrib.admin.utils import quote
from django.contrib.auth import get_permission_codename
from django.core.exceptions import PermissionDenied, ValidationError
from django.db import connections, models
from django.db.backends.base.base import BaseDatabaseWrapper
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
from django_app.admin.show import moment
from django_app.admin.shown import link, query, shown
from django_app.log_index import is_complete
from django_app.watched import Model, Watched, by_home, keys_of, watched

_MOST = 100


def page(request: HttpRequest, admin: ReadOnlyAdmin, label: str, pk: str) -> TemplateResponse:
    model = _model(label)
    if "\0" in pk:
        raise Http404("No key has the character NUL.")
    connection = connections[shown()]
    homes = by_home(model, watched(connection).values())
    keys = _keys(connection, model, homes, pk)
    # Only a table that is watched is surely in this database.
    instance = _loaded(model, pk) if homes else None
    if not _may_see(request, admin.admin_site, model, instance):
        raise PermissionDenied
    before = request.GET.get("before", "")
    if before and not log.is_xid(before):
        raise Http404("The parameter `before` is not a transaction.")
    by_key = bool(is_complete(connection))
    conditions = {
        "row_watches": list(keys), "row_keys": list(keys.values()), "before": before or None, "by_key": by_key
    }  # fmt: skip
    events = log.read(conditions, _MOST, data=True) if keys else []
    horizon = log.horizon({"before": before or None}) if keys and not by_key else None
    name = _name(model, pk, instance, is_gone=bool(homes))
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


def _loaded(model: Model, pk: str) -> models.Model | None:
    """Returns the object, also if the model's own manager hides it: who may not see it, may not see its changes."""
    return model._base_manager.using(shown()).filter(pk=pk).first()


def _model(label: str) -> Model:
    try:
        model = apps.get_model(label)
    except (LookupError, ValueError) as error:
        raise Http404(f"There is no model {label}.") from error
    if model._meta.swapped:
        raise Http404(f"Another model replaces {label}.")
    return model


def _keys(connection: BaseDatabaseWrapper, model: Model, homes: dict[Model, list[Watched]], pk: str) -> dict[str, str]:
    try:
        return keys_of(connection, homes, model._meta.pk.to_python(pk))
    except (ValidationError, ValueError) as error:
        raise Http404(f"{pk} is not a key of {model._meta.label}.") from error


def _may_see(request: HttpRequest, site: AdminSite, model: Model, instance: models.Model | None) -> bool:
    """Whether this user may see the object. Its own admin decides; without one, the permissions of the model."""
    own = site._registry.get(model)
    if own is None:
        names = (f"{model._meta.app_label}.{get_permission_codename(verb, model._meta)}" for verb in ("view", "change"))
        return any(map(request.user.has_perm, names))
    if not own.has_view_or_change_permission(request, instance):
        return False
    if instance is None:
        return True
    return own.get_queryset(request).using(shown()).filter(pk=instance.pk).exists()


def _name(model: Model, pk: str, instance: models.Model | None, *, is_gone: bool) -> str:
    if instance is not None:
        return str(instance)
    return f"{model._meta.verbose_name} {pk}{' (deleted)' if is_gone else ''}"


def _url(name: str, *arguments: str) -> str | None:
    try:
        return reverse(name, args=arguments)
    except NoReverseMatch:
        return None
