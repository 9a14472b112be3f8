"""Tail: shows events of the log as they are committed, without moving any position."""

from collections.abc import AsyncIterator

import anyio

from bridge.event import Event
from bridge.stream.event_log import EventLog

# Seconds between two looks. Only a listener that sleeps armed makes writers notify, and that is the relay's. So this
# reader polls.
_PERIOD = 0.25


async def tail(database_url: str, stream: str) -> AsyncIterator[Event]:
    """Yields the events of the stream that are committed from now on, in order of id within each look. Never ends."""
    async with EventLog.open(database_url, stream, batch_size=1000, purpose="tail", flushed_only=False) as log:
        await log.follow()
        while True:
            batch = await log.read()
            for event in batch.events:
                yield event
            if not batch.events:
                await anyio.sleep(_PERIOD)
