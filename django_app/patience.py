"""Patience: repeats DDL that could not get its lock in time.

While DDL waits for a lock, every later writer of the table waits behind it. So each try is short, and then the writers
pass.
"""

from collections.abc import Callable
from typing import TypeVar

from django.db import OperationalError, transaction
from django.db.backends.base.base import BaseDatabaseWrapper

from bridge.database.statement import statement
from django_app.database import sqlstate

T = TypeVar("T")

LOCK_TIMEOUT = "2s"
ATTEMPTS = 5
_LOCK_TIMEOUT = statement("limit_lock_wait", "django_app")
_LOCK_TROUBLE = {"55P03", "40P01"}  # lock_not_available, deadlock_detected


def is_lock_trouble(error: OperationalError) -> bool:
    """Whether a lock was not granted in time, or could not be."""
    return sqlstate(error) in _LOCK_TROUBLE


def patiently(connection: BaseDatabaseWrapper, do: Callable[[], T]) -> T:
    """Returns what `do` returns, in a transaction. Raises the error of the last try if it never got its lock."""
    for attempt in range(ATTEMPTS):
        try:
            with transaction.atomic(using=connection.alias):
                with connection.cursor() as cursor:
                    cursor.execute(_LOCK_TIMEOUT, {"timeout": LOCK_TIMEOUT})
                return do()
        except OperationalError as error:
            if not is_lock_trouble(error) or attempt == ATTEMPTS - 1:
                raise
    raise AssertionError("the last try returns or raises")
