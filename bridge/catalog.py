"""Catalog: what is installed in a database (the schema, the watches, the streams), through its public SQL functions."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from datetime import datetime, timedelta
from typing import Any, Literal

import anyio
import msgspec

from bridge import schema
from bridge.backoff import Backoff
from bridge.database import Connection, connect, notification, own_search_path, query, statement, translated
from bridge.errors import ConfigError, LockTimeoutError
from bridge.watch import Watch

_TRIES = 5
_WAITING = statement("waiting")
# Counting is reading, and during a long outage it is done again and again.
_MOST_COUNTED = 1_000_000
_CHANGES = {
    "plan": "select * from bridge.plan(%(wanted)s::pg_catalog.jsonb, %(prune)s)",
    "apply": "select * from bridge.apply(%(wanted)s::pg_catalog.jsonb, %(prune)s)",
}


class Change(msgspec.Struct, frozen=True):
    """One row of a plan."""

    action: Literal["create", "replace", "repair", "keep", "remove"]
    name: str
    before: dict[str, Any] | None
    after: dict[str, Any] | None


class StreamStatus(msgspec.Struct, frozen=True):
    """One row of `bridge.status()`."""

    stream: str
    watches: int
    waiting: int
    """Committed events that are not delivered yet."""
    of_removed: int
    """Those among them whose watch was removed since; they are delivered all the same."""
    lag: timedelta
    """Age of the oldest of them."""
    dead_letters: int
    owner_pid: int | None
    """Backend of the relay that serves the stream; None: nobody does."""
    asleep: bool
    moved_at: datetime
    broker_error: str | None
    """Why the broker takes nothing from that relay; None: it does."""
    broker_away_since: datetime | None


class Catalog:
    """One connection to the database's public functions."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    @classmethod
    @asynccontextmanager
    async def open(cls, database_url: str) -> AsyncIterator["Catalog"]:
        """Connects; see `database.connect` for the errors."""
        async with connect(database_url, "catalog") as connection:
            yield cls(connection)

    async def version(self) -> str | None:
        """Version of the installed triggers.sql; None when there is none."""
        [(exists,)] = await query(self._connection, "select to_regprocedure('bridge.version()') is not null")
        if not exists:
            return None
        [(version,)] = await query(self._connection, "select bridge.version()")
        return str(version)

    async def require(self) -> None:
        """ConfigError unless Commit Bridge is installed here and this role may use it."""
        if await self.version() is None:
            [(name,)] = await query(self._connection, "select current_database()")
            raise ConfigError(f'Commit Bridge is not installed in database "{name}": run `bridge install` first')

    async def install(self) -> tuple[str | None, str]:
        """Applies the packaged triggers.sql in one transaction; returns the versions before and after."""
        before = await self.version()
        # Several statements in one simple query are one transaction.
        await query(self._connection, schema.read(), slow=True)
        return before, schema.version()

    async def plan(self, watches: Sequence[Watch], prune: bool) -> list[Change]:
        """What `apply` would do."""
        return await self._changes("plan", watches, prune)

    async def apply(self, watches: Sequence[Watch], prune: bool, lock_timeout: float) -> list[Change]:
        """Brings the watches in line in one transaction.

        Writers queue behind an installation that waits for a table's lock, so it waits `lock_timeout` s at most, gives
        way, and tries again a few times. LockTimeoutError: nothing was changed.
        """
        milliseconds = {"timeout": f"{lock_timeout * 1000:.0f}ms"}
        await query(self._connection, "select set_config('lock_timeout', %(timeout)s, false)", milliseconds)
        backoff = Backoff()
        for _ in range(_TRIES - 1):
            with suppress(LockTimeoutError):
                return await self._changes("apply", watches, prune)
            await anyio.sleep(backoff.next())
        try:
            return await self._changes("apply", watches, prune)
        except LockTimeoutError as error:
            raise LockTimeoutError(
                f"{_TRIES} tries of {lock_timeout:g} s could not lock the tables, and nothing was changed: "
                "run it when no long transaction uses them, or give a longer --lock-timeout"
            ) from error

    async def status(self) -> list[StreamStatus]:
        """All streams, by name."""
        return [StreamStatus(*row) for row in await query(self._connection, "select * from bridge.status()", slow=True)]

    async def waiting(self, streams: Sequence[str]) -> list[tuple[str, int, datetime | None]]:
        """Of each of these streams how many events wait, up to a million, and since when."""
        values = {"streams": list(streams), "at_most": _MOST_COUNTED}
        return [(row[0], row[1], row[2]) for row in await query(self._connection, _WAITING, values)]

    async def disk_use(self) -> dict[str, int]:
        """Bytes of the log, the dead letters and the inbox."""
        return dict(await query(self._connection, "select part, bytes from bridge.disk_use()", slow=True))

    async def drift(self) -> list[str]:
        """Names of watches whose triggers are missing, switched off or don't fit their table any more."""
        rows = await query(self._connection, "select name from bridge.drift() order by name", slow=True)
        return [row[0] for row in rows]

    async def changed(self, within: float) -> bool:
        """Whether somebody has changed a watch within so many seconds; `listen` comes first."""
        with translated():
            return await notification(self._connection, within)

    async def listen(self) -> None:
        """Asks to be told when somebody changes a watch; behind a pooler in transaction mode nothing is ever told."""
        # There it would only make the server keep all notifications for a session that never takes them.
        if not self._connection.pinned:
            await query(self._connection, 'listen "bridge"')

    async def streams(self) -> list[str]:
        """All streams that there are."""
        return [row[0] for row in await query(self._connection, "select name from bridge.stream order by name")]

    async def recycle(self, retention: float) -> list[int]:
        """Truncates slots of the log that are delivered and older than `retention` seconds; returns them."""
        values = {"retention": timedelta(seconds=retention)}
        [(slots,)] = await query(self._connection, "select bridge.recycle(%(retention)s)", values, slow=True)
        return list(slots)

    async def refresh(self) -> int:
        """Gives capture its numbers of tables and columns anew after a restore; returns how many watches needed it."""
        [(number,)] = await query(self._connection, "select bridge.refresh()", slow=True)
        return int(number)

    async def set_aside(self) -> int:
        """Makes dead letters of events that were loaded from another cluster without triggers; returns their number."""
        [(number,)] = await query(self._connection, "select bridge.set_aside()", slow=True)
        return int(number)

    async def forget(self, older_than: float) -> int:
        """Deletes entries of the inbox older than so many seconds, at most ten thousand; returns their number."""
        values = {"older_than": timedelta(seconds=older_than)}
        [(number,)] = await query(self._connection, "select bridge.forget(%(older_than)s)", values, slow=True)
        return int(number)

    async def _changes(self, function: Literal["plan", "apply"], watches: Sequence[Watch], prune: bool) -> list[Change]:
        values = {"wanted": msgspec.json.encode([w.definition() for w in watches]).decode(), "prune": prune}
        async with own_search_path(self._connection):
            rows = await query(self._connection, _CHANGES[function], values, slow=True)
        return [Change(*row) for row in rows]
