"""Answer: what an error means. Either the broker is away, or it is there and refuses one message or one queue."""

import re
from collections.abc import Iterator

import amqp
import kombu
from kombu.exceptions import KombuError, SerializationError, SerializerNotInstalled

from bridge.errors import BrokerError
from bridge.reason import reason
from bridge.secret import hidden

# AMQP class and method of basic.publish: RabbitMQ names them when it closes a connection because of a message.
# When it closes a connection for other methods, no message is to blame.
_PUBLISH = (60, 40)
_MALFORMED = (
    amqp.exceptions.FrameError,
    amqp.exceptions.FrameSyntaxError,
    amqp.exceptions.UnexpectedFrame,
    amqp.exceptions.AMQPNotImplementedError,
)
# RabbitMQ also answers 404 or 406 while a node of its cluster is away. These texts mark such temporary errors.
_PASSING = re.compile("down or inaccessible|due to timeout|stopped by supervisor")
# Errors of Redis about one key or one value. All others (OOM, READONLY, LOADING, ...) describe the state of the server.
_OF_A_KEY = re.compile("^WRONGTYPE|no permissions to access .*key|invalid bulk length|exceeds maximum", re.IGNORECASE)


class AnswerError(Exception):
    """The broker is there, but refuses this message, or refuses it for this queue."""


def is_of_transport(error: BaseException, connection: kombu.Connection) -> bool:
    """Whether the error came from the connection, and not from the message that was to be sent."""
    if isinstance(error, SerializationError | SerializerNotInstalled):
        return False
    # kombu lists KeyError among the errors of Redis, but routers and serializers raise it too.
    known = [one for one in connection.connection_errors + connection.channel_errors if one is not KeyError]
    return isinstance(error, (amqp.AMQPError, KombuError, OSError, *known))


def translated(error: Exception, connection: kombu.Connection) -> Exception:
    """Returns a BrokerError if the broker is away, else an AnswerError: a retry without this message can succeed."""
    if isinstance(error, BrokerError | AnswerError | MemoryError):
        return error
    if is_of_transport(error, connection) and not any(_concerns_a_message(one) for one in _causes(error)):
        return BrokerError(sentence(error))
    return AnswerError(sentence(error))


def is_of_publish(error: BaseException) -> bool:
    """Whether RabbitMQ reports an earlier published message with this error, and not the current operation."""
    return any(getattr(one, "method_sig", None) == _PUBLISH for one in _causes(error))


def sentence(error: BaseException) -> str:
    """Returns the error's text, with the cause that an error type of kombu or Celery hides, and without passwords."""
    return hidden(_said(error))


def _said(error: BaseException) -> str:
    text, cause = str(error).strip(), str(error.__cause__ or "").strip()
    if error.__cause__ and text == cause:
        # Celery repeats the error in a type of its own. The name of the original type says more.
        return reason(error.__cause__)
    if cause and cause not in text:
        # kombu's batch error says only that the batch failed. A person needs the cause as well.
        return f"{reason(error)} ({cause})"
    return reason(error)


def _concerns_a_message(error: BaseException) -> bool:
    if isinstance(error, amqp.ChannelError):
        return not _PASSING.search(str(error))
    if isinstance(error, _MALFORMED):
        return is_of_publish(error)
    # redis-py puts the command before the answer. The command contains the queue's name, so it must not be searched.
    answer = str(error).rpartition("caused error: ")[2]
    return type(error).__module__.startswith("redis.") and bool(_OF_A_KEY.search(answer))


def _causes(error: BaseException) -> Iterator[BaseException]:
    """Yields the error and the errors that it was raised from."""
    cause: BaseException | None = error
    while cause is not None:
        yield cause
        cause = cause.__cause__
