"""Systemd: reports to the service manager that the bridge is ready, in which state it is, and that it lives.

Messages are datagrams to the socket in NOTIFY_SOCKET, with one assignment a line. Source: sd_notify(3),
sd_watchdog_enabled(3), https://www.freedesktop.org/software/systemd/man/latest/sd_notify.html
"""

import os
import socket
from collections.abc import Mapping
from contextlib import suppress
from time import monotonic

from bridge.telemetry.health import Health


class Systemd:
    """The connection to the service manager that started this process. Without one, it sends nothing."""

    def __init__(self, health: Health, environment: Mapping[str, str] = os.environ) -> None:
        self._health = health
        address = environment.get("NOTIFY_SOCKET", "")
        # "@" means the zero byte of an abstract socket.
        self._address = "\0" + address[1:] if address.startswith("@") else address
        self._watchdog = _watchdog(environment) if self._address else None
        self._fed = monotonic()
        self._ready = False
        self._status = ""

    @property
    def period(self) -> float:
        """Longest time in seconds from one report to the next."""
        return 1.0 if self._watchdog is None else min(1.0, self._watchdog / 2)

    def tell(self) -> None:
        """Reports what has changed since the last call. Feeds the watchdog while every relay makes progress."""
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
        """Reports that the bridge is stopping. A batch in flight may still take some time."""
        self._send(["STOPPING=1", "STATUS=stopping"])

    def _send(self, words: list[str]) -> None:
        if not self._address or not words:
            return
        # A manager that does not read its socket must not block the bridge.
        with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as client:
            client.setblocking(False)
            client.sendto("\n".join(words).encode(), self._address)


def _watchdog(environment: Mapping[str, str]) -> float | None:
    """Returns the seconds within which the manager expects a sign of life from this process, or None if it expects
    none."""
    micros, pid = environment.get("WATCHDOG_USEC", ""), environment.get("WATCHDOG_PID", "")
    if not micros.isdecimal() or int(micros) == 0 or (pid and pid != str(os.getpid())):
        return None
    return int(micros) / 1e6
