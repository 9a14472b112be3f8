"""Crumbs: the way to a page, in the markup of the installed Django."""

from dataclasses import dataclass
from typing import Any

import django
from django.contrib.admin.sites import AdminSite
from django.db.models.options import Options
from django.urls import NoReverseMatch, reverse
from django.utils.text import capfirst

from django_app.admin.shown import query


@dataclass(frozen=True)
class Crumbs:
    places: tuple[tuple[str, str | None], ...]
    """Texts and addresses. The last place is the page itself."""

    is_list: bool = django.VERSION >= (6, 1)
    """Whether the admin's style sheet expects a list; older ones expect texts."""


# Options is generic only in the type stubs, not at run time.
def crumbs(site: AdminSite, options: "Options[Any]", *more: tuple[str, str | None]) -> Crumbs:
    """Returns the way from the start page over the app and the list of a model."""
    app = options.app_label
    return Crumbs(
        (
            ("Home", _url(site, "index")),
            (str(options.app_config.verbose_name), _url(site, "app_list", app)),
            (str(capfirst(options.verbose_name_plural)), _list(site, options)),
            *more,
        )
    )


def _list(site: AdminSite, options: "Options[Any]") -> str | None:
    address = _url(site, f"{options.app_label}_{options.model_name}_changelist")
    return f"{address}{query()}" if address and options.app_label == "bridge" else address


def _url(site: AdminSite, name: str, *arguments: str) -> str | None:
    try:
        return reverse(f"{site.name}:{name}", args=arguments)
    except NoReverseMatch:
        return None
