"""Environment: gives the commands of `bridge` the project's database and Celery app."""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from django_app.project import celery_app, database_url


@contextmanager
def project_environment(using: Sequence[str]) -> Iterator[None]:
    """Sets the variables that name the databases and the app, as long as the block runs. A variable that the operator
    has set takes precedence, such as a direct address where Django's settings lead through a pooler."""
    ours = {"BRIDGE_DATABASE_URL": " ".join(map(database_url, using)), "BRIDGE_CELERY_APP": celery_app() or ""}
    added = {name: value for name, value in ours.items() if value and name not in os.environ}
    os.environ.update(added)
    try:
        yield
    finally:
        for name in added:
            os.environ.pop(name, None)
