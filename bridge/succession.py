"""Succession: how a standby finds out that the owner is frozen, and how an owner shows that it lives.

A process that was stopped (SIGSTOP), or a machine that hangs, keeps its sessions and with them its locks, and a standby
would wait for ever. So it looks at the owner's session every `after` seconds. When events waited at two looks in a row
and the session has said nothing in between, although it was woken, the owner is frozen and its sessions are ended:
`after` to twice `after` seconds since the events began to wait. An owner that has something in hand and can't get rid
of it (the broker is away, a publish takes long) says a word in between.
"""

import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import datetime

import anyio
import msgspec

from bridge.database import Connection, connect, query, statement
from bridge.errors import BridgeError, ConfigError, DatabaseError

logger = logging.getLogger(__name__)

_OWNER = statement("owner")
_DEPOSE = statement("depose")

# Words of a busy owner between two looks of a standby.
_WORDS = 3
# An owner that is being sent a batch says nothing until it has all of it, and its network may be slow.
_LOOKS_WHILE_SENT = 4


class Silence(msgspec.Struct, frozen=True):
    """An owner's session that waits for its client while events wait."""

    pid: int
    since: datetime | None
    """None: this role may not see it."""
    sending: bool
    """The server sends it an answer; else it waits for a question."""


async def depose_frozen(database_url: str, stream: str, after: float) -> None:
    """Looks at the owner every `after` seconds and ends its sessions when it is frozen; runs until cancelled."""
    while True:
        # First of all: most standbys of a rolling restart are owners sooner than that.
        await anyio.sleep(after)
        try:
            async with connect(database_url, f"succession {stream}") as connection:
                await _watch(connection, stream, after)
        except DatabaseError as error:
            # The relay, which waits for the lock, tells of the outage.
            logger.debug("succession without database", extra={"stream": stream, "reason": str(error)})
        except ConfigError as error:
            logger.warning("a frozen owner can't be deposed", extra={"stream": stream, "reason": str(error)})
            return


async def keep_talking(say: Callable[[], Awaitable[object]], busy: Callable[[], bool], after: float) -> None:
    """The owner's words while it is busy, for standbys that look every `after` seconds; runs until cancelled."""
    while True:
        await anyio.sleep(after / _WORDS)
        if busy():
            await say()


@asynccontextmanager
async def beside(task: Callable[[], Awaitable[object]]) -> AsyncIterator[None]:
    """Runs the task beside the block: it ends with the block, and its error ends the block."""
    failures: list[BridgeError] = []
    async with anyio.create_task_group() as group:

        async def run() -> None:
            try:
                await task()
            except BridgeError as error:
                failures.append(error)
                group.cancel_scope.cancel()

        group.start_soon(run)
        try:
            yield
        except BridgeError as error:
            # Out of here it would leave the task group wrapped in an exception group.
            failures.append(error)
        group.cancel_scope.cancel()
    if failures:
        raise failures[0]


async def _watch(connection: Connection, stream: str, after: float) -> None:
    before, looks = None, 0
    while True:
        silence = await _look(connection, stream)
        if silence is not None and silence.since is None:
            raise ConfigError(
                "its session can't be seen: both instances need the same role, and the server track_activities = on"
            )
        looks = looks + 1 if silence == before else 1
        before = silence
        if silence is not None and looks > (_LOOKS_WHILE_SENT if silence.sending else 1):
            logger.warning(
                "owner is frozen, ending its sessions",
                extra={"stream": stream, "backend": silence.pid, "silent_since": silence.since},
            )
            await query(connection, _DEPOSE, {"stream": stream, "pid": silence.pid, "silent_since": silence.since})
        await anyio.sleep(after)


async def _look(connection: Connection, stream: str) -> Silence | None:
    rows = await query(connection, _OWNER, {"stream": stream})
    return Silence(*rows[0][:3]) if rows else None
