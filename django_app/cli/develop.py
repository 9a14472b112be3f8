"""Develop: the bridge and a worker in one terminal, which are started again when code changes."""

import atexit
import subprocess
import sys

import click
from django.utils import autoreload

_GRACE = 10.0
"""Seconds that a process has to end before it is killed."""


def develop(celery_app: str | None) -> None:
    """Runs both until Ctrl-C. Django's own reloader watches the code, as it does for `runserver`."""
    if not celery_app:
        raise click.ClickException(
            "no Celery app was found for the worker; name it in the settings, BRIDGE_CELERY_APP = 'shop.celery:app'"
        )
    autoreload.run_with_reloader(_run_both, celery_app)


def _run_both(celery_app: str) -> None:
    bridge = [sys.executable, *(word for word in sys.argv if word != "--worker")]
    worker = [sys.executable, "-m", "celery", "-A", celery_app, "worker", "--loglevel=info", "--pool=threads"]
    processes = [subprocess.Popen(argv) for argv in (bridge, worker)]
    # The reloader ends this process by an exit, in its main thread, and starts a new one.
    atexit.register(_stop, processes)
    for process in processes:
        process.wait()


def _stop(processes: list[subprocess.Popen[bytes]]) -> None:
    for process in processes:
        process.terminate()
    for process in processes:
        try:
            process.wait(_GRACE)
        except subprocess.TimeoutExpired:
            process.kill()
