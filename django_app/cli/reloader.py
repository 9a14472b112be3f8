"""Reloader: the outer process of Django's reloader, which starts the inner one again and again.

Django's own outer process ends with the inner one, if the code has an error when Django starts: only `runserver` is an
exception. Here the next change of the code starts it again.
"""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import click
from django.apps import apps
from django.utils import autoreload

_CHANGED = 3
"""The exit code of an inner process that found changed code."""

_FAILED = 1
_REFUSED = 2
"""The exit code for settings and words that can't be right. The words were right if a process has run before."""

_INTERVAL = 0.5


def run() -> None:
    """Runs the inner process until it ends for another reason than the code, or until a signal."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    arguments = autoreload.get_child_arguments()
    environment = {**os.environ, autoreload.DJANGO_AUTORELOAD_ENV: "true"}
    errors = {_FAILED}
    try:
        while True:
            before = _code()
            code = subprocess.run(arguments, env=environment, close_fds=False, check=False).returncode
            if code in errors:
                click.echo("The code has an error. Bridge and worker start again when it changes.", err=True)
                while _code() == before:
                    time.sleep(_INTERVAL)
            elif code != _CHANGED:
                sys.exit(code)
            errors = {_FAILED, _REFUSED}
    except KeyboardInterrupt:
        pass


def _code() -> dict[Path, float]:
    """Returns when each file of the code was changed: those that this process has imported, and those of the apps."""
    watcher = autoreload.StatReloader()
    for app in apps.get_app_configs():
        if "site-packages" not in Path(app.path).parts:
            watcher.watch_dir(Path(app.path), "**/*.py")
    return dict(watcher.snapshot_files())
