"""Shown: the database whose log a page shows. BRIDGE_DATABASE may name several; the address of a page chooses one."""

from collections.abc import Callable, Iterator
from contextvars import ContextVar
from functools import wraps
from typing import Any
from urllib.parse import parse_qs

from django.contrib.admin.sites import AdminSite
from django.http import Http404, HttpRequest
from django.template.response import SimpleTemplateResponse
from django.urls import NoReverseMatch, reverse
from django.utils.html import format_html
from django.utils.http import urlencode
from django.utils.safestring import SafeString

from django_app.database import alias, aliases

PARAMETER = "database"
_KEPT = "_changelist_filters"  # of Django's admin
_shown: ContextVar[str | None] = ContextVar("bridge_shown", default=None)


def shown() -> str:
    """Returns the alias of the database that this page shows: the first one, unless the address names another."""
    return _shown.get() or alias()


def choosing(view: Callable[..., Any]) -> Callable[..., Any]:
    """Makes a view show the database that its address names. The page is rendered here, since that reads the log."""

    @wraps(view)
    def chosen(request: HttpRequest, *args: Any, **kwargs: Any) -> Any:
        token = _shown.set(_named(request))
        try:
            response = view(request, *args, **kwargs)
            return response.render() if isinstance(response, SimpleTemplateResponse) else response
        finally:
            _shown.reset(token)

    return chosen


def link(site: AdminSite, name: str, *arguments: str, using: str | None = None, **values: str | None) -> str:
    """Returns the address of a page of ours, which shows the same database or another one."""
    address = reverse(f"{site.name}:bridge_{name}", args=arguments)
    if name.endswith("_change"):
        # Django's page of an object leads back to its list with these parameters.
        return address + (f"?{urlencode({_KEPT: kept})}" if (kept := query(using, **values)[1:]) else "")
    return address + query(using, **values)


def anchor(site: AdminSite, text: object, name: str, *arguments: str, **values: str | None) -> SafeString:
    """Returns a link to a page of ours as HTML, or the text alone if this site has no such page."""
    try:
        return format_html('<a href="{}">{}</a>', link(site, name, *arguments, **values), text)
    except NoReverseMatch:
        return format_html("{}", text)


def query(using: str | None = None, **values: str | None) -> str:
    """Returns the part of an address behind its path: with these values, and with the database if it is not the first
    one."""
    using = using or shown()
    given = {name: value for name, value in values.items() if value is not None}
    given |= {} if using == alias() else {PARAMETER: using}
    return f"?{urlencode(given)}" if given else ""


def choices() -> Iterator[tuple[str, str, bool]]:
    """Yields each database with the address of its list, and whether it is the one that is shown."""
    for using in aliases():
        yield using, query(using) or "?", using == shown()


def _named(request: HttpRequest) -> str | None:
    # The page of an object has the parameters of the list in one of its own, as Django keeps them.
    kept = parse_qs(request.GET.get(_KEPT, ""))
    named = request.GET.get(PARAMETER) or kept.get(PARAMETER, [""])[-1]
    if named and named not in aliases():
        raise Http404(f"BRIDGE_DATABASE does not name {named}.")
    return named or None
