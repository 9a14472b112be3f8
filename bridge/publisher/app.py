"""App: loads the user's Celery app, and keeps the passwords in its settings out of logs."""

import sys
from pathlib import Path
from typing import Any

from celery import Celery
from celery.app.utils import find_app

from bridge.errors import ConfigError
from bridge.reason import reason
from bridge.secret import hidden, note, note_value


def load(app_path: str) -> Celery:
    """Returns the app that `--app` names; raises ConfigError with the reason if it can't be imported."""
    # As with `celery -A`, modules are looked for in the current directory first, also the task modules imported below.
    sys.path.insert(0, str(Path.cwd()))
    try:
        app = find_app(app_path)
        if isinstance(app, Celery):
            # The tasks' own options (queue, priority, ...) are known only after the tasks' modules are imported.
            app.loader.import_default_modules()
            note_secrets(app)
            return app
    except Exception as error:
        # The project's modules may raise any error when they are imported.
        said = f"{error}" if isinstance(error, ImportError | AttributeError | ValueError) else reason(error)
        raise ConfigError(
            hidden(f"--app {app_path}: {said}. Write it as module:attribute, for example shop.celery:app")
        ) from error
    raise ConfigError(f"--app {app_path}: this names a {type(app).__name__}, not a Celery app")


def note_secrets(app: Celery) -> None:
    """Remembers the passwords in the app's settings, so that logs and errors do not show them."""
    conf: Any = app.conf
    _note(conf.table(censored=False))


def _note(value: object, name: str = "") -> None:
    """Remembers the passwords of all addresses, and all values under names such as `password`, at any depth."""
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
