"""A Celery app that a test loads ends with that test, so a later test may give another app the same name."""

import sys
from collections.abc import Iterator

import pytest

from bridge.publisher.app import load


@pytest.fixture(autouse=True)
def forget_apps(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Forgets the apps that `--app` named, and the modules that were imported from tests' own directories."""
    yield
    load.cache_clear()
    directories = f"{tmp_path_factory.getbasetemp()}/"
    for name, module in list(sys.modules.items()):
        if (getattr(module, "__file__", None) or "").startswith(directories):
            del sys.modules[name]
