"""The commands of `manage.py bridge`: those of `bridge`, with the project's database and Celery app, and some more."""
