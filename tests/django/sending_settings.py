"""The shop's settings, with the tasks framework of Django 6."""

from shop.settings import *  # noqa: F403 - all of them

TASKS = {"default": {"BACKEND": "django_app.tasks.BridgeBackend", "QUEUES": []}}
