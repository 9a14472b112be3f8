"""Listener: tells a relay when to look, and sleeps armed in between.

    AWAKE --__anext__--> arm --lock granted--> ARMED   (yields "armed": look once more)
                          |                      |
                          '--notified--> AWAKE   '--notified or floor--> AWAKE   (yields)

Armed means: this listener holds the stream's sleep key exclusively, or waits for it. A writer that gets the key
shared keeps it until its commit is visible, so the lock is granted only after that, and the relay looks again after
the grant. A writer that comes later fails to get it and notifies. So nothing is missed, and NOTIFY is paid only when
somebody sleeps. The lock waits on a connection of its own: the one that listens must be free to hear, the one that
reads to read.
"""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial
from typing import Literal, Self

import anyio
import psycopg
from psycopg import sql

from bridge.database import Connection, advisory_lock, connect, notification, query, statement, translated
from bridge.errors import BridgeError, DatabaseError

Wakeup = Literal["connected", "armed", "notified", "polled"]

_KEYS = statement("keys")
_UNLOCK = "select pg_advisory_unlock_all()"


class Listener:
    """An asynchronous iterator of wake-ups; each one means "look now" and carries no data.

    The consumer drains the stream before it asks for the next wake-up.
    """

    def __init__(self, listening: Connection, arming: Connection, stream: str, sleep_key: int, floor: float) -> None:
        self._listening = listening
        self._arming = arming
        self._channel = f"bridge:{stream}"
        self._sleep_key = sleep_key
        self._floor = floor
        self._state: Literal["connected", "awake", "armed"] = "connected"

    @classmethod
    @asynccontextmanager
    async def open(cls, database_url: str, stream: str, floor: float) -> AsyncIterator["Listener"]:
        """Connects and listens; `floor` is the longest sleep in seconds.

        The floor is a seat belt for what no lock can see: a prepared transaction, a pooler in the way, a bug.
        """
        async with (
            connect(database_url, f"listen {stream}") as listening,
            connect(database_url, f"sleep {stream}") as arming,
        ):
            with translated():
                [keys] = await query(arming, _KEYS, {"stream": stream})
                listener = cls(listening, arming, stream, keys[0], floor)
                await listening.execute(sql.SQL("listen {}").format(sql.Identifier(listener._channel)))
            yield listener

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Wakeup:
        with translated():
            if self._state == "connected":
                self._state = "awake"
                return "connected"
            if self._state == "awake":
                return await self._arm()
            return await self._sleep()

    async def _arm(self) -> Wakeup:
        """Asks for the sleep key; whichever comes first, the grant or a notification, ends the wait for the other."""
        granted = False

        async def lock() -> None:
            nonlocal granted
            await advisory_lock(self._arming, self._sleep_key)
            granted = True

        await _race(lock, partial(notification, self._listening))
        if granted:
            # Also when both happened: the look after the grant sees what the notification was about.
            self._state = "armed"
            return "armed"
        await self._disarm()
        return "notified"

    async def _sleep(self) -> Wakeup:
        notified = False

        async def notice() -> None:
            nonlocal notified
            notified = await notification(self._listening, within=self._floor)

        async def hold() -> None:
            # Nothing is ever sent to this connection. It ends with an error when the server ends it, and with it the
            # lock that makes writers notify: sleeping on would mean to wait for the floor.
            await notification(self._arming)

        await _race(notice, hold)
        await self._disarm()
        if not notified:
            await self._heartbeat()
        return "notified" if notified else "polled"

    async def _disarm(self) -> None:
        self._state = "awake"
        with anyio.CancelScope(shield=True):
            try:
                await self._arming.execute(_UNLOCK)
            except psycopg.errors.QueryCanceled:
                # The cancellation of the lost race arrived late and hit this statement instead.
                await self._arming.execute(_UNLOCK)

    async def _heartbeat(self) -> None:
        """A notification to oneself: the only proof that the listening connection still hears."""
        await query(self._arming, "select pg_notify(%(channel)s, '')", {"channel": self._channel})
        if not await notification(self._listening, within=10):
            raise DatabaseError("the listening connection is deaf: no notification came within 10 s")


async def _race(*steps: Callable[[], Awaitable[object]]) -> None:
    """Runs the steps side by side until the first one ends, and raises its error if it failed."""
    failures: list[BridgeError] = []
    async with anyio.create_task_group() as race:

        async def contend(step: Callable[[], Awaitable[object]]) -> None:
            try:
                with translated():
                    await step()
            except BridgeError as error:
                failures.append(error)
            race.cancel_scope.cancel()

        for step in steps:
            race.start_soon(contend, step)
    if failures:
        raise failures[0]
