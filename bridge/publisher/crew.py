"""Crew: several publisher processes that share each batch. Batches are split by key: events of one key stay in order.

One process can use only one core to make, fill and write messages. A member receives events and makes the calls itself:
calls are five times as long as their events, and sending them to a member took as long as filling their messages. A
member ends when its pipe closes, so it can't outlive the bridge. Members ignore SIGTERM and SIGINT, which a supervisor
may send to all processes: the bridge itself stops them, between batches.
"""

import atexit
import signal
from collections.abc import Mapping, Sequence
from contextlib import suppress
from multiprocessing import get_context
from multiprocessing.connection import Connection
from typing import Any

import msgspec

from bridge import logs
from bridge.call import Refusal, Targets
from bridge.errors import BrokerError
from bridge.event import Event
from bridge.garbage import collect_rarely
from bridge.publisher.answer import sentence
from bridge.publisher.publisher import Publisher
from bridge.reason import kept

# A fork of a process with threads and connections may hang, so each member is a new process.
_CONTEXT = get_context("spawn")


class _Request(msgspec.Struct, array_like=True):
    """The events to publish. A request without events only connects."""

    events: Sequence[Event] = ()
    targets: Targets | None = None
    """The targets, or None if they are those of the request before."""


class _Answer(msgspec.Struct, array_like=True):
    """The result of a request, by the places of its events."""

    refused: Mapping[int, str] = {}
    """The reason for each refused event."""
    failure: str | None = None
    """The broker's error, if the request failed. Then only `settled` is certain."""
    settled: Sequence[int] = ()
    """The places that the broker certainly has."""


# JSON, because the values of an event come from JSON, and MessagePack has no integers beyond 64 bits.
_encode = msgspec.json.Encoder().encode
_decode_request = msgspec.json.Decoder(_Request).decode
_decode_answer = msgspec.json.Decoder(_Answer).decode
_GONE = _Answer(failure="a publisher process ended unexpectedly; the next try starts a new one")


class Crew:
    """A publisher made of several processes. It is used like a `Publisher`."""

    def __init__(self, size: int, broker_url: str | None, app_path: str | None) -> None:
        self.address = Publisher(broker_url, app_path).address
        self._members = [_Member(broker_url, app_path) for _ in range(size)]
        # Runs before multiprocessing's own exit handler, which would wait for members that wait for us.
        atexit.register(self.close)

    def publish(self, events: Sequence[Event], targets: Targets) -> list[Refusal]:
        """See Publisher. All members work at once, each on the events of its keys."""
        shares: list[list[int]] = [[] for _ in self._members]
        for place, event in enumerate(events):
            shares[hash((event.watch, _encode(event.key))) % len(shares)].append(place)
        asked = [(member, share) for member, share in zip(self._members, shares, strict=True) if share]
        for member, share in asked:
            member.ask([events[place] for place in share], targets)
        refused: dict[int, str] = {}
        settled: set[int] = set()
        failures: list[str] = []
        for (_, share), answer in zip(asked, [member.answer() for member, _ in asked], strict=True):
            refused |= {share[place]: reason for place, reason in answer.refused.items()}
            settled.update(share if answer.failure is None else [share[place] for place in answer.settled])
            failures += [] if answer.failure is None else [answer.failure]
        if failures:
            # Refused events are not settled: the next try must refuse them again, so that they become dead letters.
            raise BrokerError(failures[0], frozenset(settled - refused.keys()))
        return [Refusal(events[place], refused[place]) for place in sorted(refused)]

    def prepare(self) -> None:
        """Starts the members. See Publisher."""
        for member in self._members:
            member.start()

    def connect(self) -> None:
        """See Publisher."""
        for member in self._members:
            member.ask()
        for answer in [member.answer() for member in self._members]:
            if answer.failure is not None:
                raise BrokerError(answer.failure)

    def close(self) -> None:
        """Ends the members. The next call starts new ones."""
        for member in self._members:
            member.end()


class _Member:
    """One process, started when it is first needed."""

    def __init__(self, broker_url: str | None, app_path: str | None) -> None:
        self._arguments = broker_url, app_path
        self._process: Any = None
        self._pipe: Connection | None = None
        self._targets: Targets | None = None
        """The targets that the process has."""

    def start(self) -> Connection:
        """Starts the process unless it was started. Returns the pipe to it."""
        if self._pipe is None:
            self._pipe, theirs = _CONTEXT.Pipe()
            self._process = _CONTEXT.Process(target=_work, args=(theirs, *self._arguments), name="bridge publisher")
            self._process.start()
            theirs.close()
            self._targets = None
        return self._pipe

    def ask(self, events: Sequence[Event] = (), targets: Targets | None = None) -> None:
        """Sends a request. A failure is reported by `answer()`."""
        pipe = self.start()
        news = None if targets is self._targets else targets
        with suppress(OSError):
            pipe.send_bytes(_encode(_Request(events, news)))
            self._targets = targets or self._targets

    def answer(self) -> _Answer:
        """Returns the answer to the last request. If the process is gone, the answer is a failure."""
        try:
            return _decode_answer(self._pipe.recv_bytes()) if self._pipe else _GONE
        except (EOFError, OSError):
            self.end()
            return _GONE

    def end(self) -> None:
        """Closes the pipe, upon which the process ends; kills it if it still runs after 5 s."""
        process, pipe, self._process, self._pipe = self._process, self._pipe, None, None
        if pipe is not None:
            pipe.close()
        if process is not None:
            process.join(5)
            if process.is_alive():
                process.kill()
                process.join()


def _work(pipe: Connection, broker_url: str | None, app_path: str | None) -> None:
    """Runs a member: reads requests and answers each of them, until the pipe closes."""
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, signal.SIG_IGN)
    # The libraries' logs go to standard error here too. A new process must set up again that passwords are hidden.
    logs.set_up("console", "warning")
    try:
        publisher = Publisher(broker_url, app_path)
    except Exception as error:
        # The app's modules may raise an error here that they did not raise in the bridge itself. Python would print an
        # unhandled error with the passwords in it.
        with suppress(EOFError, OSError):
            pipe.recv_bytes()
            pipe.send_bytes(_encode(_Answer(failure=sentence(error))))
        return
    logs.set_up("console", "warning")  # again, since the app may have set up its own logging
    collect_rarely()
    targets = Targets()
    while True:
        try:
            request = _decode_request(pipe.recv_bytes())
        except EOFError:
            return
        targets = request.targets or targets
        try:
            pipe.send_bytes(_encode(_answer(publisher, request.events, targets)))
        except OSError:
            return


def _answer(publisher: Publisher, events: Sequence[Event], targets: Targets) -> _Answer:
    try:
        publisher.connect()
        refusals = publisher.publish(events, targets) if events else []
    except BrokerError as error:
        return _Answer(failure=str(error), settled=tuple(error.settled))
    # Events are found by identity, since two events may have one id.
    places = {id(event): place for place, event in enumerate(events)}
    return _Answer({places[id(refusal.event)]: kept(refusal.reason) for refusal in refusals})
