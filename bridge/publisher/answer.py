"""Answer: what an error says of the broker - it is away, or it is there and does not take one message or one queue."""

import re
from collections.abc import Iterator

import amqp
import kombu
from kombu.exceptions import KombuError, SerializationError, SerializerNotInstalled

from bridge.errors import BrokerError
from bridge.reason import reason

# Of a message: what else RabbitMQ ends a connection for is its own affair.
_PUBLISH = (60, 40)
_MALFORMED = (
    amqp.exceptions.FrameError,
    amqp.exceptions.FrameSyntaxError,
    amqp.exceptions.UnexpectedFrame,
    amqp.exceptions.AMQPNotImplementedError,
)
# RabbitMQ says so with 404 or 406 when a node of its cluster is away: that passes.
_PASSING = re.compile("down or inaccessible|due to timeout|stopped by supervisor")
# What Redis says of one key or one value. All else (OOM, READONLY, LOADING, ...) is the server's state.
_OF_A_KEY = re.compile("^WRONGTYPE|no permissions to access .*key|invalid bulk length|exceeds maximum", re.IGNORECASE)


class AnswerError(Exception):
    """The broker is there, and does not take this message, or not to this queue."""


def is_of_transport(error: BaseException, connection: kombu.Connection) -> bool:
    """Whether it came from the connection, and not from what was to be sent."""
    if isinstance(error, SerializationError | SerializerNotInstalled):
        return False
    # kombu counts KeyError among Redis's errors; routers and serializers raise it too.
    known = [one for one in connection.connection_errors + connection.channel_errors if one is not KeyError]
    return isinstance(error, (amqp.AMQPError, KombuError, OSError, *known))


def translated(error: Exception, connection: kombu.Connection) -> Exception:
    """A BrokerError where the broker is away, else an AnswerError: trying again without this message can help."""
    if isinstance(error, BrokerError | AnswerError | MemoryError):
        return error
    if is_of_transport(error, connection) and not any(_concerns_a_message(one) for one in _causes(error)):
        return BrokerError(sentence(error))
    return AnswerError(sentence(error))


def is_of_publish(error: BaseException) -> bool:
    """Whether RabbitMQ says this of a message that was published before, whatever is under way now."""
    return any(getattr(one, "method_sig", None) == _PUBLISH for one in _causes(error))


def sentence(error: BaseException) -> str:
    """The error with the cause that kombu's or Celery's own type hides."""
    text, cause = str(error).strip(), str(error.__cause__ or "").strip()
    if error.__cause__ and text == cause:
        # Celery repeats an error in a type of its own; the first one has a name that says something.
        return reason(error.__cause__)
    if cause and cause not in text:
        # kombu's batch says only that it failed; why is what a person needs.
        return f"{reason(error)} ({cause})"
    return reason(error)


def _concerns_a_message(error: BaseException) -> bool:
    if isinstance(error, amqp.ChannelError):
        return not _PASSING.search(str(error))
    if isinstance(error, _MALFORMED):
        return is_of_publish(error)
    # redis-py puts the command in front, which has the queue's name in it.
    answer = str(error).rpartition("caused error: ")[2]
    return type(error).__module__.startswith("redis.") and bool(_OF_A_KEY.search(answer))


def _causes(error: BaseException) -> Iterator[BaseException]:
    """The error and those that it was raised from."""
    cause: BaseException | None = error
    while cause is not None:
        yield cause
        cause = cause.__cause__
