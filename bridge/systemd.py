"""Systemd: tells the service manager that the bridge is ready, how it stands, and that it lives.

The protocol is one datagram a word, to the socket that NOTIFY_SOCKET names. Source: sd_notify(3),
sd_watchdog_enabled(3), https://www.freedesktop.org/software/systemd/man/latest/sd_notify.html
"""

import os
import socket
from collections.abc import Mapping
from contextlib import suppress
from time import monotonic

from bridge.health import Health


class Systemd:
    """The service manager that started this process; silent when there is none."""

    def __init__(self, health: Health, environment: Mapping[str, str] = os.environ) -> None:
        self._health = health
        address = environment.get("NOTIFY_SOCKET", "")
        # "@" stands for the zero byte of an abstract socket.
        self._address = "\0" + address[1:] if address.startswith("@") else address
        self._watchdog = _watchdog(environment) if self._address else None
        self._fed = monotonic()
        self._ready = False
        self._status = ""

    @property
    def period(self) -> float:
        """Seconds after which `tell` should be called again, at most."""
        return 1.0 if self._watchdog is None else min(1.0, self._watchdog / 2)

    def tell(self) -> None:
        """Says what has changed since the last time; feeds the watchdog while every relay makes progress."""
        words = []
        if not self._ready and self._health.is_ready():
            self._ready = True
            words.append("READY=1")
        status = ", ".join(f"{stream}: {state}" for stream, state in self._health.as_dict().items()) or "connecting"
        if status != self._status:
            self._status = status
            words.append(f"STATUS={status}")
        due = self._watchdog is not None and monotonic() - self._fed >= self._watchdog / 2 - self.period / 2
        if due and not self._health.stuck():
            self._fed = monotonic()
            words.append("WATCHDOG=1")
        self._send(words)

    def stopping(self) -> None:
        """The bridge was told to stop; a batch in flight may still take its time."""
        self._send(["STOPPING=1", "STATUS=stopping"])

    def _send(self, words: list[str]) -> None:
        if not self._address or not words:
            return
        # A manager that does not listen must not hold the bridge.
        with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as client:
            client.setblocking(False)
            client.sendto("\n".join(words).encode(), self._address)


def _watchdog(environment: Mapping[str, str]) -> float | None:
    """Seconds within which the manager wants a sign of life; None: it wants none, or from another process."""
    micros, pid = environment.get("WATCHDOG_USEC", ""), environment.get("WATCHDOG_PID", "")
    if not micros.isdecimal() or int(micros) == 0 or (pid and pid != str(os.getpid())):
        return None
    return int(micros) / 1e6
