"""App: the user's Celery app, or one of our own."""

import sys
from pathlib import Path
from typing import Any

from celery import Celery
from celery.app.utils import find_app

from bridge.errors import ConfigError
from bridge.reason import reason
from bridge.secret import hidden, note, note_value


def load(app_path: str) -> Celery:
    """The app that `--app` names; ConfigError with the reason where it can't be imported."""
    # As with `celery -A`: the project is where the command is started, also for the task modules imported below.
    sys.path.insert(0, str(Path.cwd()))
    try:
        app = find_app(app_path)
        if isinstance(app, Celery):
            # The tasks' own options (queue, priority, ...) are known only after their modules are imported.
            app.loader.import_default_modules()
            note_secrets(app)
            return app
    except Exception as error:
        # Whatever the project's modules raise when they are imported.
        said = f"{error}" if isinstance(error, ImportError | AttributeError | ValueError) else reason(error)
        raise ConfigError(
            hidden(f"--app {app_path}: {said}; it is given as module:attribute, such as shop.celery:app")
        ) from error
    raise ConfigError(f"--app {app_path}: is {type(app).__name__}, not a Celery app")


def note_secrets(app: Celery) -> None:
    """Remembers the passwords in the app's settings, so that nothing shows them."""
    conf: Any = app.conf
    _note(conf.table(censored=False))


def _note(value: object, name: str = "") -> None:
    """Addresses wherever they stand, and what stands under a name such as `password`, at any depth."""
    if isinstance(value, dict):
        for inner, one in value.items():
            _note(one, str(inner).lower())
    elif isinstance(value, list | tuple):
        for one in value:
            _note(one, name)
    elif any(word in name for word in ("password", "secret", "token")):
        note_value(value)
    elif isinstance(value, str):
        note(value)
