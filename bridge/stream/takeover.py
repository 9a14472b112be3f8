"""Takeover: how a standby notices that the owner is frozen, and how an owner shows that it lives.

A stopped process (SIGSTOP) or a machine that hangs keeps its sessions and their locks, and a standby would wait for
ever. So the standby looks at the owner's session every `after` seconds. The owner is frozen when events waited at two
looks in a row and its session ran no statement in between, although the standby has woken it. Then the standby ends the
owner's sessions, between `after` and twice `after` seconds after the events began to wait. An owner that can't deliver
its events at once (the broker is away, a publish takes long) runs a statement from time to time.
"""

import logging
from collections.abc import Awaitable, Callable
from datetime import datetime

import anyio
import msgspec

from bridge.database.connect import connect
from bridge.database.connection import Connection
from bridge.database.query import query
from bridge.database.statement import statement
from bridge.errors import ConfigError, DatabaseError, NotReadyError

logger = logging.getLogger(__name__)

_OWNER = statement("find_silent_owner")
_DEPOSE = statement("end_owner_sessions")

# Statements of a busy owner between two looks of a standby.
_WORDS = 3
# Looks after which an owner is frozen although the server sends it a batch. It runs no statement until it has received
# the whole batch, and its network may be slow.
_LOOKS_WHILE_SENT = 4


class Silence(msgspec.Struct, frozen=True):
    """An owner's session that waits for its client while events wait."""

    pid: int
    since: datetime | None
    """Time since when the session waits. None: this role may not see it."""
    sending: bool
    """Whether the server is sending it an answer. If not, the session waits for a statement."""


async def depose_frozen(database_url: str, stream: str, after: float) -> None:
    """Looks at the owner every `after` seconds, and ends its sessions when it is frozen. Runs until cancelled."""
    while True:
        # Sleep before the connection: in a rolling restart most standbys become owners within this time.
        await anyio.sleep(after)
        try:
            async with connect(database_url, f"takeover {stream}") as connection:
                await _watch(connection, stream, after)
        except (ConfigError, NotReadyError) as error:
            logger.warning("can't take over from a frozen owner", extra={"stream": stream, "reason": str(error)})
            return
        except DatabaseError as error:
            # The relay, which waits for the lock, logs the outage.
            logger.debug("can't look at the owner: database away", extra={"stream": stream, "reason": str(error)})


async def keep_talking(say: Callable[[], Awaitable[object]], busy: Callable[[], bool], after: float) -> None:
    """Calls `say` regularly while the owner is busy, for standbys that look every `after` seconds. Runs until
    cancelled."""
    while True:
        await anyio.sleep(after / _WORDS)
        if busy():
            await say()


async def _watch(connection: Connection, stream: str, after: float) -> None:
    before, looks = None, 0
    while True:
        silence = await _look(connection, stream)
        if silence is not None and silence.since is None:
            raise ConfigError(
                "this role can't see the owner's session: run both instances with one role, and set "
                "track_activities = on in the server"
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
    return Silence(rows[0].pid, rows[0].state_change, rows[0].sending) if rows else None
