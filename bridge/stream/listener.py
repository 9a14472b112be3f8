"""Listener: wakes a relay when it should look for events, and sleeps armed between the looks.

    AWAKE --ask for the key--> granted soon ----------------------> ARMED    (yields "armed": look once more)
      ^                          |                                   ^ |
      |                          '-- not yet --> ASKED --granted-----' |
      |                          (yields "asked": look once more)      |
      '---- a notification (yields "notified"), or a look that found something ("polled", then `disarm`)

Armed means: this listener holds the stream's sleep key exclusively. A writer that gets the key shared keeps it until
its commit is visible. So the listener gets the key only after that commit, and the relay looks again after the grant. A
writer that comes after the request fails to get the key, and notifies. So nothing is missed, and writers pay for NOTIFY
only while a relay sleeps.

Asked means: a long transaction has the key, and the grant may take hours. Without another look, events that were
committed between the last look and the request would wait for that grant. So the relay looks as soon as the server has
queued the request.
"""

import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Literal, Self

import anyio
from psycopg import sql

from bridge.concurrency import Step, race, task_group
from bridge.database.connect import connect
from bridge.database.connection import Connection
from bridge.database.query import notification, query
from bridge.database.statement import statement
from bridge.database.translation import translated
from bridge.errors import DatabaseError
from bridge.stream.sleep_key import SleepKey

logger = logging.getLogger(__name__)

Wakeup = Literal["connected", "asked", "armed", "notified", "polled"]

_KEYS = statement("stream_locks")
_HEARTBEAT = statement("send_heartbeat")
_FREE = statement("try_sleep_key")

# Seconds that the relay waits for the grant before it looks without it. Most transactions are shorter.
_SOON = 0.05
# Share of the notification queue (8 GB) at which a warning is logged. When the queue is full, commits that notify fail.
_FULL = 0.5
# Seconds that a notification to this same connection may take.
_ECHO = 10.0


class Listener:
    """An asynchronous iterator of wake-ups. Each one means "look now" and carries no data.

    The consumer delivers all events of the stream before it asks for the next wake-up.
    """

    def __init__(self, listening: Connection, key: SleepKey, stream: str, floor: float) -> None:
        self._listening = listening
        self._key = key
        self._channel = _channel(stream)
        self._floor = floor
        self._beaten = anyio.current_time()
        self._state: Literal["connected", "awake", "asked", "armed"] = "connected"
        self.queue_usage = 0.0
        """Share of the server's notification queue that was in use at the last heartbeat."""
        self._told = False

    @classmethod
    @asynccontextmanager
    async def open(cls, database_url: str, stream: str, floor: float) -> AsyncIterator["Listener"]:
        """Connects and listens. `floor` is the longest sleep in seconds.

        The floor is a safety net for commits that do not notify: a prepared transaction, a pooler in between, a bug.
        """
        async with (
            connect(database_url, f"listen {stream}") as listening,
            connect(database_url, f"sleep {stream}") as arming,
        ):
            [keys] = await query(arming, _KEYS, {"stream": stream})
            channel = sql.Identifier(_channel(stream))
            await query(listening, sql.SQL("listen {}").format(channel).as_string(listening))
            async with task_group() as group:
                yield cls(listening, SleepKey(arming, keys.sleep_key, group), stream, floor)
                group.cancel_scope.cancel()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Wakeup:
        with translated():
            match self._state:
                case "connected":
                    self._state = "awake"
                    return "connected"
                case "awake":
                    return await self._ask()
                case "asked":
                    return await self._await_grant(self._floor) or await self._poll()
                case "armed":
                    return await self._sleep()

    def disarm(self) -> None:
        """Begins to release the sleep key, so that writers need not notify while the consumer delivers events."""
        self._state = "awake"
        self._key.release()

    async def _ask(self) -> Wakeup:
        self._key.ask()
        wakeup = await self._await_grant(_SOON)
        if wakeup is None:
            await race(self._key.granted, self._writers_notify)
            self._state = "asked"
            wakeup = "asked"
        return wakeup

    async def _await_grant(self, within: float) -> Wakeup | None:
        """Waits for the grant or for a notification, whichever comes first. Returns None when neither comes in time."""
        notified = await self._notified_before(self._key.granted, within)
        if self._key.held:
            # This is right also if a notification came: the look after the grant finds its events.
            self._state = "armed"
            return "armed"
        if notified:
            self.disarm()
            return "notified"
        return None

    async def _sleep(self) -> Wakeup:
        # A busy stream never sleeps for the whole floor, but it needs its heartbeat too.
        if not self._heartbeat_is_due() and await self._notified_before(self._key.lost, self._floor):
            self.disarm()
            return "notified"
        return await self._poll()

    async def _poll(self) -> Wakeup:
        """Returns "polled" and stays armed. An idle stream costs one look per floor, and a heartbeat every second
        floor."""
        if self._heartbeat_is_due():
            await self._heartbeat()
        return "polled"

    def _heartbeat_is_due(self) -> bool:
        return anyio.current_time() - self._beaten >= 2 * self._floor

    async def _heartbeat(self) -> None:
        """Proves that writers notify, and that the listening connection still receives notifications. Raises
        DatabaseError if not."""
        self._beaten = anyio.current_time()
        values = {"channel": self._channel, "sleep_key": self._key.number}
        [row] = await query(self._listening, _HEARTBEAT, values)
        self.queue_usage = row.queue_usage
        self._watch_queue()
        within = min(_ECHO, self._listening.patience or _ECHO)
        if not await notification(self._listening, within):
            raise DatabaseError(
                f"a test notification did not come within {within:g} s: the sleep key is lost, "
                "or the listening connection no longer receives notifications"
            )

    def _watch_queue(self) -> None:
        """Logs a warning once each time that the queue fills up."""
        if self.queue_usage > _FULL and not self._told:
            logger.warning(
                "the server's notification queue fills up; end the listening session that has a very long transaction",
                extra={"usage": self.queue_usage},
            )
        self._told = self.queue_usage > _FULL

    async def _writers_notify(self) -> None:
        """Waits until the server has queued the request for the key, so that writers fail to get it and notify."""
        while (await query(self._listening, _FREE, {"sleep_key": self._key.number}))[0].is_free:  # noqa: ASYNC110 - no event
            await anyio.sleep(0.005)

    async def _notified_before(self, other: Step, within: float) -> bool:
        notified = False

        async def notice() -> None:
            nonlocal notified
            notified = await notification(self._listening, within)

        await race(notice, other)
        return notified


def _channel(stream: str) -> str:
    return f"bridge:{stream}"
