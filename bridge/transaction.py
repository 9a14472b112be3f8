"""Transaction: gives the context of the code that runs now to the events of a psycopg transaction.

Django needs no call: django_app.context does it for every write.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg

from bridge import scope
from bridge.database.statement import statement

_SET = statement("set_context")


@contextmanager
def in_context(connection: psycopg.Connection[Any]) -> Iterator[None]:
    """Opens a transaction on `connection`; the events of its writes have the context that is current now.

    with bridge.context(reason="import"), in_context(connection):
        connection.execute(...)
    """
    with connection.transaction():
        connection.execute(_SET, {"context": scope.as_setting()})
        yield
