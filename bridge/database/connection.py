"""Connection: psycopg's connection, for a process that waits for days."""

import os
import socket
from contextlib import suppress
from typing import Any, TypeVar

import psycopg
from psycopg.abc import PQGen

from bridge.database.statement import statement

_BEGIN = statement("begin_pinned").encode()

T = TypeVar("T")


class Connection(psycopg.AsyncConnection[Any]):
    """An AsyncConnection that does not busy-poll, and gives up on a server that does not answer."""

    patience: float | None = None
    """Seconds that the answer to a quick statement may take: the DSN's `tcp_user_timeout`. None: no limit."""

    pinned = False
    """Whether an always open transaction keeps the session for us. Such a connection receives no notifications."""

    async def wait(
        self,
        gen: PQGen[T],
        interval: float = 60.0,
        timeout: float | None = None,  # noqa: ASYNC109 - psycopg's own
    ) -> T:
        """Waits without psycopg's ten wake-ups a second. They exist for Ctrl-C, but signals wake asyncio anyway."""
        return await super().wait(gen, interval, **({} if timeout is None else {"timeout": timeout}))

    async def pin(self) -> None:
        """Keeps the session for this connection behind a pooler in transaction mode, by an always open transaction.

        When a client disconnects inside a transaction, the pooler closes the session with its locks and settings, so
        they never reach another client.
        """
        await self.execute(_BEGIN)
        self.pinned = True

    def take_patience(self, times: int) -> None:
        """Multiplies the time that answers may take."""
        if self.patience is not None:
            self.patience *= times

    def hang_up(self) -> None:
        """Closes the socket, so that every wait on this connection ends with an error.

        A cancellation can't do this: psycopg handles it with a cancel request, which waits for the same dead server.
        """
        if not self.closed:
            with socket.socket(fileno=os.dup(self.fileno())) as duplicate, suppress(OSError):
                duplicate.shutdown(socket.SHUT_RDWR)
