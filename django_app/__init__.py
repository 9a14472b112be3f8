"""Commit Bridge for Django: declares, installs and shows watches. No event passes through here."""

from django_app.registry import watch

__all__ = ["watch"]
