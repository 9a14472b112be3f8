"""Environment: gives the commands of `bridge` the project's database and Celery app."""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from django_app.project import celery_app, database_url

_DATABASE = "BRIDGE_DATABASE_URL"


@contextmanager
def project_environment(using: Sequence[str], *, is_named: bool = False) -> Iterator[None]:
    """Sets the variables that name the databases and the app, as long as the block runs. A variable that the operator
    has set takes precedence, such as a direct address where Django's settings lead through a pooler. It does not where
    `is_named` says that the command line names the databases."""
    ours = {_DATABASE: " ".join(map(database_url, using)), "BRIDGE_CELERY_APP": celery_app() or ""}
    set_here = {
        name: os.environ.get(name)
        for name, value in ours.items()
        if value and (name not in os.environ or (is_named and name == _DATABASE))
    }
    os.environ.update({name: ours[name] for name in set_here})
    try:
        yield
    finally:
        for name, before in set_here.items():
            if before is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = before
