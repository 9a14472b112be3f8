"""Commit Bridge for Django: declares, installs and shows watches. Events don't pass through this package."""

from django_app.declarations.registry import on_change, watch

__all__ = ["on_change", "watch"]
