"""A Celery app that a test makes or loads ends with that test.

A later test may give another app the same name. And Celery's shared tasks belong to the current app of their thread or,
in a thread that has none, to the default app: both must be those that the process began with.
"""

import sys
from collections.abc import Iterator
from typing import Any

import celery._state
import pytest

from bridge.publisher.app import load

_state: Any = celery._state


@pytest.fixture(autouse=True)
def forget_apps(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Forgets the apps that `--app` named, and the modules that were imported from tests' own directories."""
    current, default = _state._tls.current_app, _state.default_app
    yield
    _state._set_current_app(current)
    _state.set_default_app(default)
    load.cache_clear()
    directories = f"{tmp_path_factory.getbasetemp()}/"
    for name, module in list(sys.modules.items()):
        if (getattr(module, "__file__", None) or "").startswith(directories):
            del sys.modules[name]
