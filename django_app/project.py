"""The project: the addresses of its database and of its Celery app, so that nobody writes them twice."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from importlib import import_module
from importlib.util import find_spec
from urllib.parse import quote, urlencode

from celery import Celery
from django.conf import settings
from psycopg.pq import Conninfo

from bridge.errors import ConfigError
from bridge.publisher.app import load
from django_app.database import connect

_SKIP_CHECKS = "CELERY_SKIP_CHECKS"  # a variable of Celery's


def database_url(using: str) -> str:
    """Returns the address of a database as a URL that libpq reads, with the password."""
    known = {option.keyword.decode() for option in Conninfo.get_defaults()}
    values = connect(using).get_connection_params()
    return "postgresql://?" + urlencode(
        {k: v for k, v in values.items() if k in known and v is not None}, quote_via=quote
    )


def celery_app() -> str | None:
    """Returns the path of the project's Celery app, as `celery -A` reads it. None: no app is found.

    The setting BRIDGE_CELERY_APP names it. Without the setting, it is looked for as Celery does, in the packages of the
    settings, of the URLs and of the WSGI application.
    """
    named = getattr(settings, "BRIDGE_CELERY_APP", None)
    if named:
        return str(named)
    modules = (
        settings.SETTINGS_MODULE,
        getattr(settings, "ROOT_URLCONF", None),
        getattr(settings, "WSGI_APPLICATION", None),
    )
    packages = dict.fromkeys(str(module).partition(".")[0] for module in modules if module)
    return next((package for package in packages if _has_app(package)), None)


def source() -> str:
    """Returns the name that marks what this project has declared in a database. It removes nothing else there."""
    name = getattr(settings, "BRIDGE_PROJECT", "")
    return f"django:{name}" if name else "django"


def load_app() -> Celery | None:
    """Returns the project's Celery app with all its tasks, or None: no app is found, or it can't be imported
    (`why_no_app` says why)."""
    return _loaded()[0]


def why_no_app() -> str | None:
    """Returns why the project's Celery app can't be used, or None if it can."""
    return _loaded()[1]


@cache
def _loaded() -> tuple[Celery | None, str | None]:
    path = celery_app()
    if path is None:
        return None, "no Celery app was found; name it in the settings: BRIDGE_CELERY_APP = 'shop.celery:app'"
    try:
        with _without_checks():
            return load(path), None
    except ConfigError as error:
        return None, str(error)


@contextmanager
def _without_checks() -> Iterator[None]:
    """Celery runs Django's system checks while it imports the tasks. Here a check may be what asks for the tasks."""
    given = os.environ.get(_SKIP_CHECKS)
    os.environ[_SKIP_CHECKS] = "1"
    try:
        yield
    finally:
        if given is None:
            del os.environ[_SKIP_CHECKS]
        else:
            os.environ[_SKIP_CHECKS] = given


def load_tasks() -> None:
    """Imports the modules of the project's tasks, as a worker does."""
    load_app()


def task_of(function: object) -> str | None:
    """Returns the name of the task that was made of a function, or None if none was."""
    app = load_app()
    tasks = app.tasks.values() if app else ()
    return next((task.name for task in tasks if _function_of(task) is function), None)


def _function_of(task: object) -> object:
    wrapped = getattr(task, "__wrapped__", None)
    return getattr(wrapped, "__func__", wrapped)  # with bind=True it is a method of the task


def _has_app(package: str) -> bool:
    if find_spec(package) is None:
        return False
    if any(isinstance(value, Celery) for value in vars(import_module(package)).values()):
        return True
    # A module that can't be imported counts too: the error then names its line.
    return hasattr(import_module(package), "__path__") and find_spec(f"{package}.celery") is not None
