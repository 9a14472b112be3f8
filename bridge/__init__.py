"""Commit Bridge: committed PostgreSQL rows start Celery tasks."""
