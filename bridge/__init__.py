"""Commit Bridge: committed PostgreSQL rows start Celery tasks."""

from bridge.scope import context

__all__ = ["context"]
