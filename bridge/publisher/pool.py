"""Pool: several publisher processes that share each batch. Batches are split by key: events of one key stay in order.

One process can use only one core to make, fill and write messages. A member receives events and makes the calls itself:
calls are five times as long as their events, and sending them to a member took as long as filling their messages. A
member ends when its pipe closes, so it can't outlive the bridge. Members ignore SIGTERM and SIGINT, which a supervisor
may send to all processes: the bridge itself stops them, between batches.
"""

import atexit
import signal
from collections.abc import Sequence
from contextlib import suppress
from multiprocessing import get_context
from multiprocessing.connection import Connection
from typing import Any

import msgspec

from bridge.call import Targets
from bridge.errors import BrokerError
from bridge.event import Event
from bridge.garbage import collect_rarely
from bridge.publisher.answer import sentence
from bridge.publisher.publisher import Publisher
from bridge.publisher.receipt import Receipt
from bridge.reason import kept
from bridge.telemetry import logs

# A fork of a process with threads and connections may hang, so each member is a new process.
_CONTEXT = get_context("spawn")


class _Request(msgspec.Struct, array_like=True):
    """The events to publish. A request without events only connects."""

    events: Sequence[Event] = ()
    targets: Targets | None = None
    """The targets, or None if they are those of the request before."""


# JSON, because the values of an event come from JSON, and MessagePack has no integers beyond 64 bits.
_encode = msgspec.json.Encoder().encode
_decode_request = msgspec.json.Decoder(_Request).decode
_decode_receipt = msgspec.json.Decoder(Receipt).decode
_GONE = "a publisher process ended unexpectedly; the next try starts a new one"


class Pool:
    """A publisher made of several processes. It is used like a `Publisher`."""

    def __init__(self, size: int, broker_url: str | None, app_path: str | None) -> None:
        self.address = Publisher(broker_url, app_path).address
        self._members = [_Member(broker_url, app_path) for _ in range(size)]
        # Runs before multiprocessing's own exit handler, which would wait for members that wait for us.
        atexit.register(self.close)

    def publish(self, events: Sequence[Event], targets: Targets) -> Receipt:
        """See Publisher. All members work at once, each on the events of its keys."""
        shares: list[list[int]] = [[] for _ in self._members]
        for place, event in enumerate(events):
            shares[hash((event.watch, _encode(event.key))) % len(shares)].append(place)
        asked = [(member, share) for member, share in zip(self._members, shares, strict=True) if share]
        for member, share in asked:
            member.ask([events[place] for place in share], targets)
        whole = Receipt()
        for (_, share), receipt in zip(asked, [member.receipt() for member, _ in asked], strict=True):
            whole.refused |= {share[place]: reason for place, reason in receipt.refused.items()}
            whole.outage = whole.outage or receipt.outage
            arrived = share if receipt.outage is None else [share[place] for place in receipt.arrived]
            whole.arrived.update(arrived)
        whole.arrived -= whole.refused.keys()
        return whole

    def prepare(self) -> None:
        """Starts the members. See Publisher."""
        for member in self._members:
            member.start()

    def connect(self) -> None:
        """See Publisher."""
        for member in self._members:
            member.ask()
        for receipt in [member.receipt() for member in self._members]:
            if receipt.outage is not None:
                raise BrokerError(receipt.outage)

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
        """Sends a request. A failure is reported by `receipt()`."""
        pipe = self.start()
        news = None if targets is self._targets else targets
        with suppress(OSError):
            pipe.send_bytes(_encode(_Request(events, news)))
            self._targets = targets or self._targets

    def receipt(self) -> Receipt:
        """Returns the receipt of the last request. If the process is gone, that is an outage."""
        try:
            return _decode_receipt(self._pipe.recv_bytes()) if self._pipe else Receipt(outage=_GONE)
        except (EOFError, OSError):
            self.end()
            return Receipt(outage=_GONE)

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
            pipe.send_bytes(_encode(Receipt(outage=sentence(error))))
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
            pipe.send_bytes(_encode(_publish(publisher, request.events, targets)))
        except OSError:
            return


def _publish(publisher: Publisher, events: Sequence[Event], targets: Targets) -> Receipt:
    try:
        publisher.connect()
    except BrokerError as error:
        return Receipt(outage=str(error))
    receipt = publisher.publish(events, targets) if events else Receipt()
    if receipt.outage is None:
        receipt.arrived.clear()  # all others have arrived; naming them would cost time
    receipt.refused = {place: kept(reason) for place, reason in receipt.refused.items()}
    return receipt
