"""The errors of the bridge, each a sentence that names the thing and the fix.

    BridgeError
     |__ ConfigError      wrong use: an option, a file, a watch; a retry does not help
     |__ DatabaseError    PostgreSQL is away, or the connection broke; a retry can help
     |    |__ NotReadyError    the schema, the login or a right is missing; a person adds it, and a retry then helps
     |    |__ LockTimeoutError a table's lock was not granted in time
     |    |__ TooLongError     a value is too long for a text of PostgreSQL
     |    |__ SilenceError     no answer came in time
     |    |__ PositionError    the server answers, but a stream's position can't be moved
     |__ BrokerError      the broker is away or did not confirm; publishing is repeated, and no event is lost

Errors of psycopg, celery and kombu are translated once, in the module that uses the library.
"""


class BridgeError(Exception):
    """Base of all errors that the bridge raises on purpose."""


class ConfigError(BridgeError):
    """Wrong use. The message says what to change."""


class DatabaseError(BridgeError):
    """PostgreSQL can't be reached, or the connection broke. A retry can help."""


class NotReadyError(DatabaseError):
    """The server answers, but the schema, the login or a right is missing. After a person has added it, a retry helps:
    `bridge run` waits, and other commands show this error."""


class LockTimeoutError(DatabaseError):
    """A table's lock was not granted in time. Nothing was changed."""


class SilenceError(DatabaseError):
    """No answer came in time: the connection is dead, or the server needs more time."""


class TooLongError(DatabaseError):
    """A value is too long for a text of PostgreSQL."""


class PositionError(DatabaseError):
    """The server answers, but refuses to move a stream's position, so published events would be published again."""


class BrokerError(BridgeError):
    """The broker can't be reached or did not confirm. Publish again, with the same task ids."""
