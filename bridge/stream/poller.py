"""Poller: wakes a relay by the clock. It replaces the Listener where notifications do not arrive."""

from typing import Self

import anyio


class Poller:
    """An asynchronous iterator of wake-ups. It never sleeps armed, so writers need not notify."""

    queue_usage = 0.0

    def __init__(self, period: float) -> None:
        """`period` is in seconds."""
        self._period = period
        self._started = False

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> str:
        if self._started:
            await anyio.sleep(self._period)
            return "polled"
        self._started = True
        return "connected"

    def disarm(self) -> None:
        """Does nothing, since a Poller is never armed. The Listener has this method too."""
