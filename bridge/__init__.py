"""Committed PostgreSQL rows start Celery tasks."""
