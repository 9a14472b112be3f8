"""The backend for Django's tasks framework, by the name that the setting TASKS has for it: see django_app.framework.

Celery imports the module `tasks` of every installed app, so with Django 5.2, which has no such framework, this module
must be there too.
"""

import django

if django.VERSION >= (6, 0):
    from django_app.framework import BridgeBackend

    __all__ = ["BridgeBackend"]
