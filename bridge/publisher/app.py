"""App: the user's Celery app, or one of our own."""

import sys
from pathlib import Path

from celery import Celery
from celery.app.utils import find_app

from bridge.errors import ConfigError


def load(app_path: str) -> Celery:
    """The app that `--app` names; ConfigError with the reason where it can't be imported."""
    # As with `celery -A`: the project is where the command is started, also for the task modules imported below.
    sys.path.insert(0, str(Path.cwd()))
    try:
        app = find_app(app_path)
        if isinstance(app, Celery):
            # The tasks' own options (queue, priority, ...) are known only after their modules are imported.
            app.loader.import_default_modules()
            return app
    except (ImportError, AttributeError, ValueError) as error:
        raise ConfigError(
            f"--app {app_path}: {error}; it is given as module:attribute, such as shop.celery:app"
        ) from error
    raise ConfigError(f"--app {app_path}: is {type(app).__name__}, not a Celery app")
