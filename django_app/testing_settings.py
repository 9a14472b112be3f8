"""The settings of the testing kit, which `migrate` reads too."""

from typing import Literal, cast

from django.conf import settings
from django.core import mail
from django.core.exceptions import ImproperlyConfigured


def without_watches() -> bool:
    """Whether this is a test run whose databases get no watches: the setting BRIDGE_TEST_TRIGGERS is False.

    Outside of a test run the setting means nothing, so a production database always gets its watches.
    """
    return not getattr(settings, "BRIDGE_TEST_TRIGGERS", True) and _is_test_run()


def on_other_databases() -> Literal["skip", "ignore"]:
    """What the testing kit does where the bridge's database is not PostgreSQL: the setting BRIDGE_TEST_SQLITE."""
    value = getattr(settings, "BRIDGE_TEST_SQLITE", "skip")
    if value not in ("skip", "ignore"):
        raise ImproperlyConfigured(f'BRIDGE_TEST_SQLITE is {value!r}; it must be "skip" or "ignore".')
    return cast("Literal['skip', 'ignore']", value)


def _is_test_run() -> bool:
    return hasattr(mail, "outbox")  # Django makes it in setup_test_environment(), for pytest-django as well
