"""The errors of the bridge, each a sentence that names the thing and the fix.

    BridgeError
     |__ ConfigError      wrong use: a flag, a file, a watch; trying again doesn't help
     |__ DatabaseError    PostgreSQL is away or breaks off; trying again can help
     |    |__ LockTimeoutError a table's lock did not come in time
     |    |__ TooLongError     PostgreSQL can't make a text of what was asked for
    |    |__ SilenceError     no answer came in time
    |    |__ PositionError    the server is there, and a stream's position can't be moved
     |__ BrokerError      the broker is away: the window is read again, nothing is burnt

Errors of psycopg, celery and kombu are translated once, in the module that talks to them.
"""


class BridgeError(Exception):
    """Base of all errors that the bridge raises on purpose."""


class ConfigError(BridgeError):
    """Wrong use; the message says what to change."""


class DatabaseError(BridgeError):
    """PostgreSQL can't be reached or breaks off; trying again can help."""


class LockTimeoutError(DatabaseError):
    """A table's lock did not come in time; nothing was changed."""


class SilenceError(DatabaseError):
    """No answer came in time: the connection is dead, or the answer takes longer."""


class TooLongError(DatabaseError):
    """PostgreSQL can't make a text of what was asked for."""


class PositionError(DatabaseError):
    """The server is there and refuses to move a stream's position: what is published would be published again."""


class BrokerError(BridgeError):
    """The broker can't be reached or did not confirm; publishing again is right, with the same task ids."""

    def __init__(self, message: str, settled: frozenset[int] = frozenset()) -> None:
        """`settled`: places in the batch of the events whose messages the broker has all the same."""
        super().__init__(message)
        self.settled = settled
