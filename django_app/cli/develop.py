"""Develop: the bridge and a worker in one terminal, which are started again when code changes."""

import atexit
import os
import sys

from django.utils import autoreload

from django_app.cli import pair, reloader

_PARENT = "COMMIT_BRIDGE_PARENT"
"""The number of a file that ends when the reloader's outer process is gone."""


def develop(celery_app: str) -> None:
    """Runs both until Ctrl-C. Django's own reloader watches the code, as it does for `runserver`."""
    if _PARENT not in os.environ:
        # Django's reloader is two processes: this one starts the other, again and again. It keeps the writing end.
        reading, _ = os.pipe()
        os.set_inheritable(reading, True)
        os.environ[_PARENT] = str(reading)
    if os.environ.get(autoreload.DJANGO_AUTORELOAD_ENV) == "true":
        autoreload.run_with_reloader(_run_both, celery_app)
    else:
        reloader.run()


def _run_both(celery_app: str) -> None:
    bridge = [sys.executable, *(word for word in sys.argv if word != "--worker")]
    worker = [sys.executable, "-m", "celery", "-A", celery_app, "worker", "--loglevel=info", "--pool=threads"]
    both = pair.start([bridge, worker])
    # When code has changed, the reloader ends this process by an exit in its main thread. The next one must not start
    # before both have ended.
    atexit.register(both.communicate)
    os.read(int(os.environ[_PARENT]), 1)  # until our parent is gone
    os._exit(1)
