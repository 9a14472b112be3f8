"""Crew: several publisher processes that share each batch, split by key, so that events of one key stay in order.

One process fills and writes messages on one core. A member ends when its pipe does: it can't outlive the bridge, and a
stop that a supervisor sends to all processes is the bridge's to honour, between batches.
"""

import atexit
import signal
from collections.abc import Sequence
from contextlib import suppress
from multiprocessing import get_context
from multiprocessing.connection import Connection
from typing import Any

from bridge.call import Call, Refusal
from bridge.errors import BrokerError
from bridge.publisher.publisher import Publisher

# A forked copy of a process with threads and connections may hang: each member starts from nothing.
_CONTEXT = get_context("spawn")
_GONE = BrokerError("a publisher process ended")

# Calls to be published; none at all: connect.
_Request = list[Call]


class Crew:
    """A publisher made of several processes; used like one."""

    def __init__(self, size: int, broker_url: str | None, app_path: str | None) -> None:
        self.address = Publisher(broker_url, app_path).address
        self._members = [_Member(broker_url, app_path) for _ in range(size)]
        # Before multiprocessing waits for processes that would wait for us.
        atexit.register(self.close)

    def publish(self, calls: Sequence[Call]) -> list[Refusal]:
        """See Publisher: all members at once, each with the calls of its keys."""
        shares: list[list[Call]] = [[] for _ in self._members]
        for call in calls:
            shares[hash((call.event.watch, repr(call.event.key))) % len(shares)].append(call)
        answers = self._ask([share or None for share in shares])
        failures = [answer for answer in answers if isinstance(answer, BrokerError)]
        if failures:
            settled = {
                call.task_id
                for share, answer in zip(shares, answers, strict=True)
                for call in share
                if not isinstance(answer, BrokerError) or call.task_id in answer.settled
            }
            raise BrokerError(str(failures[0]), frozenset(settled))
        return [refusal for answer in answers for refusal in answer or ()]

    def connect(self) -> None:
        """See Publisher."""
        for answer in self._ask([[]] * len(self._members)):
            if isinstance(answer, BrokerError):
                raise answer

    def close(self) -> None:
        """Ends the members; the next call starts new ones."""
        for member in self._members:
            member.end()

    def _ask(self, requests: Sequence[_Request | None]) -> list[Any]:
        """All members work at once; None for those that are not asked."""
        for member, request in zip(self._members, requests, strict=True):
            if request is not None:
                member.ask(request)
        pairs = zip(self._members, requests, strict=True)
        return [None if request is None else member.answer() for member, request in pairs]


class _Member:
    """One process, started when it is needed."""

    def __init__(self, broker_url: str | None, app_path: str | None) -> None:
        self._arguments = broker_url, app_path
        self._process: Any = None
        self._pipe: Connection | None = None

    def ask(self, request: _Request) -> None:
        """Whether it arrived, `answer` tells."""
        if self._pipe is None:
            ours, theirs = _CONTEXT.Pipe()
            self._process = _CONTEXT.Process(target=_work, args=(theirs, *self._arguments), name="bridge publisher")
            self._process.start()
            theirs.close()
            self._pipe = ours
        with suppress(OSError):
            self._pipe.send(request)

    def answer(self) -> Any:
        """Refusals, None, or a BrokerError: also where the process is gone."""
        try:
            return self._pipe.recv() if self._pipe else _GONE
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
    publisher = Publisher(broker_url, app_path)
    while True:
        try:
            calls = pipe.recv()
        except EOFError:
            return
        answer: object
        try:
            publisher.connect()
            answer = publisher.publish(calls) if calls else []
        except BrokerError as error:
            answer = error
        try:
            pipe.send(answer)
        except OSError:
            return
