"""Housekeeping: finds new streams, counts what waits, truncates old slots of the log, forgets old inbox entries."""

import logging
from collections.abc import Callable, Iterable, Mapping

import anyio

from bridge.backoff import Backoff
from bridge.database import schema
from bridge.database.connect import connect
from bridge.database.connection import Connection
from bridge.errors import DatabaseError, NotReadyError
from bridge.operations import installation, streams, upkeep, watches
from bridge.settings import Settings
from bridge.telemetry.health import Health

logger = logging.getLogger(__name__)

# Seconds. New streams appear only with new watches, and we are notified of those. Log slots last hours, so this can be
# slow.
_PERIOD = 300.0
# Seconds between two counts of waiting events, and only for streams that are behind.
_COUNT_PERIOD = 15.0


async def keep_house(settings: Settings, health: Health, serve: Callable[[Iterable[str]], None]) -> None:
    """Calls `serve` repeatedly with the streams to serve, and recycles the log. Runs until cancelled."""
    backoff = Backoff()
    # The relays log later outages. Before the first relay exists, only this warning explains why nothing happens.
    level, reported = logging.WARNING, ""
    while True:
        try:
            async with connect(settings.database_url, "catalog") as connection:
                await installation.require(connection)
                await _compare_versions(connection)
                await watches.listen(connection)
                while True:
                    served = await _served(connection, settings)
                    serve(served)
                    if number := await watches.refresh(connection):
                        logger.info("capture was adapted to the restored tables", extra={"watches": number})
                    if number := await upkeep.set_aside(connection):
                        logger.error("events loaded from another cluster became dead letters", extra={"number": number})
                    slots = await upkeep.recycle(connection, settings.retention)
                    if slots:
                        logger.info("log recycled", extra={"slots": slots})
                    await upkeep.forget(connection, settings.inbox_retention)
                    backoff.reset()
                    level = logging.DEBUG
                    await _wait(connection, health, {settings.label(stream): stream for stream in served})
        except DatabaseError as error:
            # The next thing that is missing is news: first the database, then the schema, then a right.
            is_news = isinstance(error, NotReadyError) and str(error) != reported
            logger.log(
                logging.WARNING if is_news else level, "database away, trying again", extra={"reason": str(error)}
            )
            level, reported = logging.DEBUG, str(error)
        await anyio.sleep(backoff.next())


async def _wait(connection: Connection, health: Health, served: Mapping[str, str]) -> None:
    """Waits until a watch is changed or the next round is due. Runs statements only while a stream is behind. `served`
    has the streams of this database by their labels."""
    labels = {stream: label for label, stream in served.items()}
    for _ in range(int(_PERIOD / _COUNT_PERIOD)):
        if behind := [served[label] for label in health.behind() if label in served]:
            for stream, waiting, oldest in await streams.waiting(connection, behind):
                health.count(labels[stream], waiting, oldest)
        if await watches.changed(connection, within=_COUNT_PERIOD):
            return


async def _compare_versions(connection: Connection) -> None:
    installed = await installation.version(connection)
    if installed != schema.version():
        logger.warning(
            "the database has another version of triggers.sql than this package; run `bridge install`",
            extra={"installed": installed, "packaged": schema.version()},
        )


async def _served(connection: Connection, settings: Settings) -> list[str]:
    existing = await streams.names(connection)
    if not settings.streams:
        return existing
    missing = sorted(set(settings.streams) - set(existing))
    if missing:
        logger.warning("no watch uses these streams (yet)", extra={"streams": missing})
    return [stream for stream in settings.streams if stream in existing]
