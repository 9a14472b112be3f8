"""Sleep key: the advisory lock that makes writers notify. It is requested and held on a separate connection.

    FREE --ask--> ASKED --granted--> HELD
      ^             |                  |
      '--release----'-----release------'

A release takes a round trip to the server, and the relay looks for events meanwhile. As soon as the server has queued
the request, writers fail to get the key, and notify.
"""

import anyio
from anyio.abc import TaskGroup

from bridge.database.connection import Connection
from bridge.database.lock import advisory_lock, advisory_unlock_all
from bridge.database.query import notification
from bridge.database.translation import translated
from bridge.errors import BridgeError


class SleepKey:
    """The sleep key of one stream. A separate task waits for the grant, so that the relay can look meanwhile."""

    def __init__(self, connection: Connection, number: int, group: TaskGroup) -> None:
        self._connection = connection
        self.number = number
        self._group = group
        self._request = _Request()
        self._request.ended.set()  # nothing was requested yet
        self._asked = False

    @property
    def held(self) -> bool:
        """Whether the key was granted, and no failure of the session that holds it is known."""
        return self._asked and self._request.granted.is_set() and self._request.failure is None

    def ask(self) -> None:
        """Sends the request. `granted` waits for the grant."""
        before, self._request = self._request, _Request()
        self._asked = True
        self._group.start_soon(self._keep, self._request, before)

    async def granted(self) -> None:
        """Waits until the key is granted. Raises an error when the connection is lost before."""
        await self._request.granted.wait()
        if self._request.failure is not None:
            raise self._request.failure

    async def lost(self) -> None:
        """Waits until the connection is lost, and raises the error: without the key, writers no longer notify."""
        await self._request.ended.wait()
        if self._request.failure is not None:
            raise self._request.failure

    def release(self) -> None:
        """Begins to cancel the request, or to release the key. The next request waits for the end of that, and has its
        error if it fails."""
        if self._asked:
            self._asked = False
            self._request.scope.cancel()

    async def _keep(self, request: "_Request", before: "_Request") -> None:
        try:
            await before.ended.wait()
            if before.failure is not None:
                raise before.failure
            with request.scope, translated():
                await advisory_lock(self._connection, self.number)
                request.granted.set()
                # This connection never gets a notification. The wait ends with an error when the connection is lost.
                await notification(self._connection)
            with anyio.CancelScope(shield=True):
                await advisory_unlock_all(self._connection)
        except BridgeError as error:
            request.failure = error
        finally:
            request.granted.set()
            request.ended.set()


class _Request:
    def __init__(self) -> None:
        self.scope = anyio.CancelScope()
        self.granted = anyio.Event()
        self.ended = anyio.Event()
        self.failure: BridgeError | None = None
