"""Publisher: publishes a batch, and says what the broker did not confirm and what can't be published at all."""

from collections.abc import Iterable, Iterator, Sequence

from celery import Celery

from bridge.call import Call, Refusal, Targets, call_for
from bridge.errors import BrokerError, ConfigError
from bridge.event import Event
from bridge.publisher.answer import AnswerError, sentence
from bridge.publisher.app import load
from bridge.publisher.line import Line, Placed, Refused
from bridge.reason import reason

# So many messages are sent one at a time to find the one that the broker refuses.
_ALONE = 50


class Publisher:
    """Publishes what events ask for, and waits until the broker has it all.

    With the user's Celery app its task options, routes, queues, serializer and signals apply; without one a bare app
    with Celery's defaults does.
    """

    def __init__(self, broker_url: str | None = None, app_path: str | None = None) -> None:
        self._app = load(app_path) if app_path else Celery("bridge", set_as_current=False)
        if broker_url:
            self._app.conf.update(broker_url=broker_url, broker_write_url=broker_url)
        elif not app_path:
            raise ConfigError("no broker: give --broker-url (BRIDGE_BROKER_URL) or --app (BRIDGE_CELERY_APP)")
        self._line: Line | None = None
        try:
            self.address: str = self._app.connection_for_write().as_uri()
        except ImportError as error:
            raise ConfigError(
                f"the broker's address can't be used: {error}; its client is missing, "
                "for Redis: pip install 'commit-bridge[redis]'"
            ) from error
        except (KeyError, ValueError) as error:
            raise ConfigError(f"the broker's address can't be used: {error}") from error

    def publish(self, events: Sequence[Event], targets: Targets) -> list[Refusal]:
        """Publishes the calls that the events ask for, in order, and returns what can't be published at all.

        BrokerError: it is not certain which of the others the broker has; publish them again, their ids are the same.
        """
        refused: Refused = {}
        settled: set[int] = set()
        try:
            self._publish(events, targets, settled, refused)
        except BrokerError as error:
            confirms = self._line.confirms if self._line else None
            blocked = confirms.look() if confirms else None
            # Also where the connection seems alive: acks of this try must not count for the next one.
            self._arrived(settled)
            self.close()
            text = f"RabbitMQ blocks publishers ({blocked}): {error}" if blocked else str(error)
            # What is refused is to be refused again, when there are dead letters to be made of it.
            raise BrokerError(text, frozenset(settled - refused.keys())) from error
        return [Refusal(events[place], refused[place]) for place in sorted(refused)]

    def connect(self) -> None:
        """Connects and makes ready, so that the first `publish` need not; BrokerError when the broker is away."""
        self._connected()

    def close(self) -> None:
        """Drops the connection; the next `publish` makes a new one."""
        line, self._line = self._line, None
        if line is not None:
            line.close()

    def _publish(self, events: Sequence[Event], targets: Targets, settled: set[int], refused: Refused) -> None:
        """All at once; and when the broker refuses one of them, so many at a time that it shows which one.

        RabbitMQ closes the channel then, and takes nothing that was behind that message. What was refused for a queue
        that is gone is tried again too, since a new connection declares all queues anew. One at a time goes on until
        that message is found, or is not among the next ones: what is sent together with it may arrive twice.
        """
        waiting = list(enumerate(events))
        size, cautious, alone = len(waiting), False, 0
        self._connected().begin()
        while waiting:
            part = waiting[:size]
            line = self._connected()
            try:
                line.send(_calls(part, targets, refused), refused)
            except AnswerError as error:
                self._arrived(settled)
                self.close()
                if cautious and size == 1:
                    refused[part[0][0]] = str(error)
                    alone = 0
                else:
                    alone = _ALONE
                size, cautious = 1, True
            else:
                settled.update(place for place, _ in part)
                alone -= 1
                size = size if alone > 0 else size * 2
            waiting = [placed for placed in waiting if placed[0] not in settled and placed[0] not in refused]

    def _connected(self) -> Line:
        if self._line is None:
            try:
                self._line = Line(self._app)
            except MemoryError:
                raise
            except Exception as error:
                raise BrokerError(sentence(error)) from error
        return self._line

    def _arrived(self, settled: set[int]) -> None:
        if self._line is not None:
            settled |= self._line.arrived


def _calls(events: Iterable[tuple[int, Event]], targets: Targets, refused: Refused) -> Iterator[Placed]:
    """The events' calls, each made when it is asked for: the broker works on the first ones while the next are made.

    What has no call is added to `refused`.
    """
    for place, event in events:
        try:
            call = call_for(event, targets)
        except MemoryError:
            raise
        except Exception as error:  # whatever it is, it is this event's
            refused[place] = reason(error)
            continue
        if isinstance(call, Call):
            yield place, call
        else:
            refused[place] = call.reason
