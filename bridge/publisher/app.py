"""App: loads the user's Celery app, and keeps the passwords in its settings out of logs."""

import re
import sys
import sysconfig
import traceback
import warnings
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any

from celery import Celery
from celery.app.utils import find_app

from bridge.errors import ConfigError
from bridge.reason import reason
from bridge.secret import hidden, note, note_value

_HINT = "Write it as module:attribute, for example shop.celery:app"
# Files that are not the project's own, as they are called in tracebacks.
_OTHERS = re.compile(rf"/site-packages/|<frozen|^{re.escape(sysconfig.get_path('stdlib'))}|^{re.escape(__file__)}$")


@cache
def load(app_path: str) -> Celery:
    """Returns the app that `--app` names; raises ConfigError with the reason if it can't be imported.

    The first call of a process loads it. Loading twice would run what Celery does after an import twice, such as
    Django's system checks.
    """
    # As with `celery -A`, modules are looked for in the current directory first, also the task modules imported below.
    sys.path.insert(0, str(Path.cwd()))
    try:
        app = _find(app_path)
        if isinstance(app, Celery):
            # The tasks' own options (queue, priority, ...) are known only after the tasks' modules are imported.
            app.loader.import_default_modules()
            note_secrets(app)
            return app
    except (Exception, SystemExit) as error:
        # The project's modules may raise any error when they are imported, and a script may exit.
        raise ConfigError(hidden(f"the Celery app {app_path}: {_said(app_path, error)}")) from error
    raise ConfigError(f"the Celery app {app_path}: this names a {type(app).__name__}, not a Celery app")


def _find(app_path: str) -> object:
    """Returns what the path names: the attribute of `module:attribute`, or the app that Celery finds in a module."""
    module, separator, name = app_path.partition(":")
    if not separator:
        import_module(module)
        try:
            return find_app(app_path)
        except AttributeError:
            raise AttributeError(f"the module {module} has no Celery app that can be found. {_HINT}") from None
    found = import_module(module)
    if hasattr(found, name):
        return getattr(found, name)
    apps = [f"{module}:{known}" for known, value in vars(found).items() if isinstance(value, Celery)]
    raise AttributeError(
        f'the module {module} has no "{name}"' + (f". Did you mean {' or '.join(apps)}?" if apps else "")
    )


def _said(app_path: str, error: BaseException) -> str:
    """Returns what went wrong while the app was loaded. For an error in the project's own code, it names the file and
    the line."""
    module = app_path.partition(":")[0]
    if isinstance(error, ModuleNotFoundError) and error.name and f"{module}.".startswith(f"{error.name}."):
        return f"{error}. {_HINT}, and start the command in the directory from which {module} can be imported"
    if isinstance(error, AttributeError) and str(error).startswith("the module "):
        return str(error)
    if isinstance(error, SyntaxError) and error.filename:
        return f"{error.msg} in {error.filename}:{error.lineno}"
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if not _OTHERS.search(frame.filename)]
    place = f" (raised in {frames[-1].filename}:{frames[-1].lineno})" if frames else ""
    said = reason(error) if isinstance(error, Exception) else f"its import ended the process ({error!r})"
    return f"it can't be imported: {said}{place}"


def note_secrets(app: Celery) -> None:
    """Remembers the passwords in the app's settings, so that logs and errors do not show them."""
    conf: Any = app.conf
    with warnings.catch_warnings():
        # All settings are read, with Django's among them. Django 6.1 warns about each old one that is read.
        warnings.simplefilter("ignore")
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
