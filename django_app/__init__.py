"""Commit Bridge for Django: declares, installs and shows watches. Events don't pass through this package."""

from django.core.exceptions import ImproperlyConfigured

import bridge

try:
    from django_app.declarations.registry import on_change, watch
    from django_app.typed_event import event
except ImportError as error:
    if str(error.name).partition(".")[0] != "bridge":
        raise
    raise ImproperlyConfigured(
        f"Python finds {bridge.__file__} under the name bridge, which Commit Bridge needs for its own package; "
        "rename yours"
    ) from None

__all__ = ["event", "on_change", "watch"]
