"""Translation: the one place where psycopg's errors become ours."""

import re
from collections.abc import Iterator
from contextlib import contextmanager

import psycopg

from bridge.errors import BridgeError, ConfigError, DatabaseError, LockTimeoutError, NotReadyError, TooLongError
from bridge.secret import hidden

INSTALL = "`bridge install`, or with Django `manage.py migrate`"
"""The commands that install the schema."""

_INVALID = re.compile(r"invalid \w+ value")
_REFUSED = re.compile(
    r"FATAL:.*(does not exist|authentication failed|no pg_hba.conf entry|is not permitted)", re.DOTALL
)

_NAMED = {
    psycopg.errors.LockNotAvailable: LockTimeoutError,
    psycopg.errors.ProgramLimitExceeded: TooLongError,
}

# The last three mean a fault in a session or in the server (a missing cursor, a page that can't be read). They concern
# only the stream whose statement failed.
_OUTAGES = (
    psycopg.OperationalError,
    psycopg.InterfaceError,
    psycopg.InternalError,
    psycopg.errors.InvalidCursorName,
    psycopg.errors.DuplicateCursor,
)

# Matches when a missing object is ours: `relation "bridge.event" does not exist`, `schema "bridge" does not exist`.
_OURS = re.compile(r'(relation |function )"?bridge[".]|schema "bridge"')


@contextmanager
def translated() -> Iterator[None]:
    """Turns errors of psycopg in this block into ours."""
    try:
        yield
    except psycopg.Error as error:
        raise translate(error) from error


def translate(error: psycopg.Error) -> BridgeError:
    """Returns psycopg's error as one of ours: DatabaseError when a retry can help, NotReadyError when it can help after
    a person has done something, else ConfigError."""
    diagnosis = error.diag
    # libpq's own messages have several lines, with tabs; ours has one.
    text = hidden(" ".join((diagnosis.message_primary or str(error)).split())) or type(error).__name__
    if diagnosis.message_hint:
        text = f"{text} ({diagnosis.message_hint})"
    missing = psycopg.errors.InvalidSchemaName | psycopg.errors.UndefinedTable | psycopg.errors.UndefinedFunction
    if isinstance(error, missing) and _OURS.search(text):
        return NotReadyError(f"{text}: is Commit Bridge installed in this database? Run {INSTALL}")
    if isinstance(error, psycopg.errors.InsufficientPrivilege):
        return NotReadyError(f"{text}: connect with a role that has this right, see docs/howto/roles.md")
    if named := next((ours for theirs, ours in _NAMED.items() if isinstance(error, theirs)), None):
        return named(text)
    if isinstance(error, psycopg.errors.ReadOnlySqlTransaction):
        # The server is a standby before its promotion, or a primary that is set to read-only.
        return DatabaseError(f"the server does not accept writes now: {text}")
    if not isinstance(error, _OUTAGES) or _INVALID.search(text):
        return ConfigError(text)
    return NotReadyError(text) if _REFUSED.search(text) else DatabaseError(text)
