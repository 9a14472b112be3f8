"""The pytest plugin: the functions of django_app.testing as fixtures of the same names.

pytest imports this module in every run in whose environment Commit Bridge is installed. So it imports nothing but
pytest, and does nothing where Django or the app is not configured.
"""

import sys
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from django_app.testing import Block, CapturedEvent, CapturedTask

_FIXTURES = {
    "arun_bridge",
    "assert_starts",
    "assert_starts_nothing",
    "captured_events",
    "captured_tasks",
    "run_bridge",
}


def pytest_collection_finish(session: pytest.Session) -> None:
    """Imports the kit before the first test, since it notes where each test begins."""
    if _is_configured() and any(not _FIXTURES.isdisjoint(getattr(item, "fixturenames", ())) for item in session.items):
        _kit()


@pytest.fixture
def captured_events() -> "Callable[..., Block[CapturedEvent]]":
    """Captures the events that a block writes: `with captured_events() as events:`."""
    kit = _kit()
    found: Callable[..., Block[CapturedEvent]] = kit.captured_events
    return found


@pytest.fixture
def captured_tasks() -> "Callable[..., Block[CapturedTask]]":
    """Captures the tasks that a block starts: `with captured_tasks(execute=True) as tasks:`."""
    found: Callable[..., Block[CapturedTask]] = _kit().captured_tasks
    return found


@pytest.fixture
def run_bridge() -> "Callable[..., list[CapturedTask]]":
    """Runs the tasks of what the test has written: `run_bridge()`."""
    found: Callable[..., list[CapturedTask]] = _kit().run_bridge
    return found


@pytest.fixture
def arun_bridge() -> "Callable[..., Awaitable[list[CapturedTask]]]":
    """Runs the tasks of what an async test has written: `await arun_bridge()`."""
    found: Callable[..., Awaitable[list[CapturedTask]]] = _kit().arun_bridge
    return found


@pytest.fixture
def assert_starts() -> "Callable[..., Block[CapturedEvent]]":
    """Asserts that a block starts a task: `with assert_starts(reprice, product.pk):`."""
    found: Callable[..., Block[CapturedEvent]] = _kit().assert_starts
    return found


@pytest.fixture
def assert_starts_nothing() -> "Callable[..., Block[CapturedEvent]]":
    """Asserts that a block starts no task: `with assert_starts_nothing():`."""
    found: Callable[..., Block[CapturedEvent]] = _kit().assert_starts_nothing
    return found


def _is_configured() -> bool:
    """Whether something has set up Django with the app. Looks only, and imports nothing."""
    registry: Any = sys.modules.get("django.apps")
    return registry is not None and registry.apps.ready and registry.apps.is_installed("django_app")


def _kit() -> Any:
    if not _is_configured():
        pytest.fail(
            "The fixtures of Commit Bridge need a Django project that is set up (with pytest-django: "
            "DJANGO_SETTINGS_MODULE) and has 'django_app' in INSTALLED_APPS.",
            pytrace=False,
        )
    # Not at the top: pytest imports this module before Django is set up, and where there is no Django.
    from django_app import testing  # noqa: PLC0415

    return testing
