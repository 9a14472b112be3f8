"""Tail: shows events of the log as they are committed, without moving any position."""

from collections.abc import AsyncIterator

import anyio

from bridge.event import Event
from bridge.event_log import EventLog

# The relay's wake-ups are its own (whoever sleeps armed makes writers notify), so a spectator polls.
_PERIOD = 0.25


async def tail(database_url: str, stream: str) -> AsyncIterator[Event]:
    """Events of the stream committed from now on, in order of id within each look; never ends."""
    async with EventLog.open(database_url, stream, batch_size=1000, purpose="tail", flushed_only=False) as log:
        await log.follow()
        while True:
            batch = await log.read()
            for event in batch.events:
                yield event
            if not batch.events:
                await anyio.sleep(_PERIOD)
