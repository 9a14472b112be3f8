"""Commit Bridge for Django: declares, installs and shows watches. Events don't pass through this package."""

from django_app.declarations.registry import watch

__all__ = ["watch"]
