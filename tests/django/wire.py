"""Wire: what Django's connection sends to PostgreSQL, as libpq traces it. Django's own log would show less."""

import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from django.db import connection
from psycopg.pq import Trace

_SENT = re.compile(r'^F\t\d+\t(?:Query|Parse)\t(?: "\w*")? "(.*?)"(?: \d+)*$', re.MULTILINE | re.DOTALL)


@contextmanager
def sent() -> Iterator[list[str]]:
    """Yields a list that has the statements at the end, each with its first words only."""
    connection.ensure_connection()
    session: Any = connection.connection
    statements: list[str] = []
    with tempfile.TemporaryFile("w+") as file:
        session.pgconn.trace(file.fileno())
        session.pgconn.set_trace_flags(Trace.SUPPRESS_TIMESTAMPS)
        try:
            yield statements
        finally:
            session.pgconn.untrace()
            file.seek(0)
            statements += [short(line) for line in _SENT.findall(file.read())]


def short(statement: str) -> str:
    """Returns the verb of a statement; our own is `set context`."""
    if "set_config('bridge.context'" in statement:
        return "set context"
    return statement.split(maxsplit=1)[0].upper()
