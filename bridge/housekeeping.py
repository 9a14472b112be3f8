"""Housekeeping: finds new streams, counts what waits, truncates old slots of the log, forgets old inbox entries."""

import logging
from collections.abc import Callable, Iterable

import anyio

from bridge import schema
from bridge.backoff import Backoff
from bridge.catalog import Catalog
from bridge.config import Settings
from bridge.errors import DatabaseError
from bridge.health import Health

logger = logging.getLogger(__name__)

# A new stream is born with a new watch, which is told; a slot of the log lasts hours.
_PERIOD = 300.0
_COUNT_PERIOD = 15.0


async def keep_house(settings: Settings, health: Health, serve: Callable[[Iterable[str]], None]) -> None:
    """Calls `serve` with the streams to be served, again and again, and recycles the log; runs until cancelled."""
    backoff = Backoff()
    # Later outages are told by the relays; before there is one, nobody else says why nothing happens.
    level = logging.WARNING
    while True:
        try:
            async with Catalog.open(settings.database_url) as catalog:
                await catalog.require()
                await _compare_versions(catalog)
                await catalog.listen()
                while True:
                    serve(await _streams(catalog, settings))
                    if number := await catalog.refresh():
                        logger.info("capture knows the restored tables", extra={"watches": number})
                    if number := await catalog.set_aside():
                        logger.error("events from elsewhere are dead letters", extra={"number": number})
                    slots = await catalog.recycle(settings.retention)
                    if slots:
                        logger.info("log recycled", extra={"slots": slots})
                    await catalog.forget(settings.inbox_retention)
                    backoff.reset()
                    level = logging.DEBUG
                    await _wait(catalog, health)
        except DatabaseError as error:
            logger.log(level, "database away, trying again", extra={"reason": str(error)})
            level = logging.DEBUG
        await anyio.sleep(backoff.next())


async def _wait(catalog: Catalog, health: Health) -> None:
    """Until somebody changes a watch, or the next round is due. Asks nothing unless a stream is behind."""
    for _ in range(int(_PERIOD / _COUNT_PERIOD)):
        if behind := health.behind():
            for stream, waiting, oldest in await catalog.waiting(behind):
                health.count(stream, waiting, oldest)
        if await catalog.changed(within=_COUNT_PERIOD):
            return


async def _compare_versions(catalog: Catalog) -> None:
    installed = await catalog.version()
    if installed != schema.version():
        logger.warning(
            "installed triggers.sql has another version; `bridge install` brings it up to date",
            extra={"installed": installed, "packaged": schema.version()},
        )


async def _streams(catalog: Catalog, settings: Settings) -> list[str]:
    existing = await catalog.streams()
    if not settings.streams:
        return existing
    missing = sorted(set(settings.streams) - set(existing))
    if missing:
        logger.warning("no watch uses this stream (yet)", extra={"streams": missing})
    return [stream for stream in settings.streams if stream in existing]
