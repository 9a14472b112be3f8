"""Crew: several publisher processes that share each batch, split by key, so that events of one key stay in order.

One process makes, fills and writes messages on one core. A member is given events, and makes the calls itself: calls
are five times as long as their events, and handing them over took as long as filling their messages. A member ends when
its pipe does: it can't outlive the bridge, and a stop that a supervisor sends to all processes is the bridge's to
honour, between batches.
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
from bridge.publisher.answer import sentence
from bridge.publisher.publisher import Publisher
from bridge.reason import kept

# A forked copy of a process with threads and connections may hang: each member starts from nothing.
_CONTEXT = get_context("spawn")


class _Request(msgspec.Struct, array_like=True):
    """Events to be published; none at all: connect."""

    events: Sequence[Event] = ()
    targets: Targets | None = None
    """None: as before."""


class _Answer(msgspec.Struct, array_like=True):
    """What became of a request, by the places of its events."""

    refused: Mapping[int, str] = {}
    """The reason of each."""
    failure: str | None = None
    """Of the broker; then all that counts is what it has for certain."""
    settled: Sequence[int] = ()


# JSON, since an event's values come from JSON: MessagePack knows no integers beyond 64 bits.
_encode = msgspec.json.Encoder().encode
_decode_request = msgspec.json.Decoder(_Request).decode
_decode_answer = msgspec.json.Decoder(_Answer).decode
_GONE = _Answer(failure="a publisher process ended")


class Crew:
    """A publisher made of several processes; used like one."""

    def __init__(self, size: int, broker_url: str | None, app_path: str | None) -> None:
        self.address = Publisher(broker_url, app_path).address
        self._members = [_Member(broker_url, app_path) for _ in range(size)]
        # Before multiprocessing waits for processes that would wait for us.
        atexit.register(self.close)

    def publish(self, events: Sequence[Event], targets: Targets) -> list[Refusal]:
        """See Publisher: all members at once, each with the events of its keys."""
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
            # But what is refused is to be refused again, when there are dead letters to be made of it.
            raise BrokerError(failures[0], frozenset(settled - refused.keys()))
        return [Refusal(events[place], refused[place]) for place in sorted(refused)]

    def connect(self) -> None:
        """See Publisher."""
        for member in self._members:
            member.ask()
        for answer in [member.answer() for member in self._members]:
            if answer.failure is not None:
                raise BrokerError(answer.failure)

    def close(self) -> None:
        """Ends the members; the next call starts new ones."""
        for member in self._members:
            member.end()


class _Member:
    """One process, started when it is needed."""

    def __init__(self, broker_url: str | None, app_path: str | None) -> None:
        self._arguments = broker_url, app_path
        self._process: Any = None
        self._pipe: Connection | None = None
        self._targets: Targets | None = None
        """What the process knows."""

    def ask(self, events: Sequence[Event] = (), targets: Targets | None = None) -> None:
        """Whether it arrived, `answer` tells."""
        if self._pipe is None:
            ours, theirs = _CONTEXT.Pipe()
            self._process = _CONTEXT.Process(target=_work, args=(theirs, *self._arguments), name="bridge publisher")
            self._process.start()
            theirs.close()
            self._pipe = ours
            self._targets = None
        news = None if targets is self._targets else targets
        with suppress(OSError):
            self._pipe.send_bytes(_encode(_Request(events, news)))
            self._targets = targets or self._targets

    def answer(self) -> _Answer:
        """A failure also where the process is gone."""
        try:
            return _decode_answer(self._pipe.recv_bytes()) if self._pipe else _GONE
        except (EOFError, OSError):
            self.end()
            return _GONE

    def end(self) -> None:
        """It ends itself when it finds the pipe closed."""
        process, pipe, self._process, self._pipe = self._process, self._pipe, None, None
        if pipe is not None:
            pipe.close()
        if process is not None:
            process.join(5)
            if process.is_alive():
                process.kill()
                process.join()


def _work(pipe: Connection, broker_url: str | None, app_path: str | None) -> None:
    """The member's life: a request, an answer."""
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, signal.SIG_IGN)
    # What libraries say here goes to standard error too; a process of its own starts with no passwords hidden there.
    logs.set_up("console", "warning")
    try:
        publisher = Publisher(broker_url, app_path)
    except Exception as error:
        # What the app's modules raise here and not in the bridge itself. Unhandled, it would be printed as it is,
        # passwords and all.
        with suppress(EOFError, OSError):
            pipe.recv_bytes()
            pipe.send_bytes(_encode(_Answer(failure=sentence(error))))
        return
    logs.set_up("console", "warning")  # again, since the app may have set up its own
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
    # By identity: two events may have one id.
    places = {id(event): place for place, event in enumerate(events)}
    return _Answer({places[id(refusal.event)]: kept(refusal.reason) for refusal in refusals})
