"""The Django project of the benchmark `sending`: its settings, and one Celery app for each way to send.

It is a module of its own because the relay of django-celery-outbox runs in another process and imports it.
"""

import os
from importlib import import_module
from typing import Any

from celery import Celery
from psycopg.conninfo import conninfo_to_dict

from benchmarks.broker import QUEUE

SECRET_KEY = "benchmark"
USE_TZ = True
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
INSTALLED_APPS = ["django_app", "django_celery_outbox"]
_ADDRESS = conninfo_to_dict(os.environ["SENDING_DATABASE"])
DATABASES = {
    "default": {
        "ENGINE": "django.db.backends.postgresql",
        "NAME": _ADDRESS.pop("dbname"),
        "OPTIONS": _ADDRESS,
    }
}
CELERY_OUTBOX_APP = "benchmarks.sending_project.outbox"
LOGGING_CONFIG = None
NAME = "bench.touch"


def _app(kind: Any, **settings: Any) -> Any:
    app = kind("bench", broker=os.environ["SENDING_BROKER"], set_as_current=False, fixups=[], **settings)
    app.conf.update(task_default_queue=QUEUE, task_ignore_result=True)
    app.task(name=NAME, shared=False)(_touch)
    return app


def _touch(number: int) -> None:
    """Nothing runs it: the benchmark ends at the broker."""


ours: Any = _app(Celery, task_cls="django_app.celery:TransactionalTask")
celery: Any = _app(Celery)


def __getattr__(name: str) -> Any:
    """Makes the rival's app when it is first asked for: its class needs Django to be set up."""
    if name != "outbox":
        raise AttributeError(name)
    outbox = _app(import_module("django_celery_outbox").OutboxCelery)
    globals()[name] = outbox
    return outbox
