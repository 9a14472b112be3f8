"""Commit Bridge for Django: declares, installs and shows watches. Events don't pass through this package."""

from django_app.declarations.registry import on_change, watch
from django_app.typed_event import event

__all__ = ["event", "on_change", "watch"]
