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
    for name in ("broker_url", "broker_read_url", "broker_write_url", "result_backend", "broker_failover_urls"):
        value = conf.get(name)
        for address in value if isinstance(value, list | tuple) else [value]:
            if isinstance(address, str):
                note(address)
    note_value(conf.get("broker_password"))
    _note_values(conf.get("broker_transport_options"))
    _note_values(conf.get("result_backend_transport_options"))


def _note_values(options: object) -> None:
    """What stands under a name such as `password`, at any depth."""
    for name, value in options.items() if isinstance(options, dict) else ():
        if "password" in str(name).lower() or "secret" in str(name).lower():
            note_value(value)
        else:
            _note_values(value)
