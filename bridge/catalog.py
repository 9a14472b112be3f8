"""Catalog: what is installed in a database (the schema, the watches, the streams), through its public SQL functions."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from datetime import datetime, timedelta
from typing import Any, Literal

import anyio
import msgspec

from bridge.backoff import Backoff
from bridge.database import schema
from bridge.database.connect import connect
from bridge.database.connection import Connection
from bridge.database.query import notification, query
from bridge.database.session import own_search_path
from bridge.database.statement import statement
from bridge.database.translation import translated
from bridge.errors import ConfigError, LockTimeoutError
from bridge.watch import Watch

_TRIES = 5
_WAITING = statement("count_waiting")
_INSTALLED = statement("is_installed")
_VERSION = statement("read_version")
_DATABASE = statement("read_database_name")
_LOCK_TIMEOUT = statement("limit_lock_wait")
_STATUS = statement("read_status")
_DISK_USE = statement("read_disk_use")
_DRIFT = statement("find_drift")
_STREAMS = statement("list_streams")
_RECYCLE = statement("recycle_slots")
_REFRESH = statement("refresh_watches")
_SET_ASIDE = statement("set_aside_events")
_FORGET = statement("forget_task_ids")
_LISTEN = statement("listen_for_watches")
# Events are counted up to this number. A count reads all of them, and a long outage repeats it many times.
_MOST_COUNTED = 1_000_000
_CHANGES = {
    "plan": statement("plan_watches"),
    "apply": statement("apply_watches"),
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
    """Number of waiting events whose watch was removed meanwhile. They are delivered too."""
    lag: timedelta
    """Age of the oldest waiting event."""
    dead_letters: int
    owner_pid: int | None
    """Backend of the relay that serves the stream. None: no relay serves it."""
    asleep: bool
    moved_at: datetime
    broker_error: str | None
    """Why the broker refuses the messages of that relay. None: it accepts them."""
    broker_away_since: datetime | None


class Catalog:
    """One connection to the database's public functions."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    @classmethod
    @asynccontextmanager
    async def open(cls, database_url: str) -> AsyncIterator["Catalog"]:
        """Connects to the database. `database.connect` lists the errors."""
        async with connect(database_url, "catalog") as connection:
            yield cls(connection)

    async def version(self) -> str | None:
        """Returns the version of the installed triggers.sql, or None if it is not installed."""
        [(exists,)] = await query(self._connection, _INSTALLED)
        if not exists:
            return None
        [(version,)] = await query(self._connection, _VERSION)
        return str(version)

    async def require(self) -> None:
        """Raises ConfigError unless Commit Bridge is installed in this database and this role may use it."""
        if await self.version() is None:
            [(name,)] = await query(self._connection, _DATABASE)
            raise ConfigError(f'Commit Bridge is not installed in database "{name}": run `bridge install` first')

    async def install(self) -> tuple[str | None, str]:
        """Applies the packaged triggers.sql in one transaction. Returns the versions before and after."""
        before = await self.version()
        # PostgreSQL runs several statements of one simple query in one transaction.
        await query(self._connection, schema.read(), slow=True)
        return before, schema.version()

    async def plan(self, watches: Sequence[Watch], prune: bool) -> list[Change]:
        """Returns what `apply` would do."""
        return await self._changes("plan", watches, prune)

    async def apply(self, watches: Sequence[Watch], prune: bool, lock_timeout: float) -> list[Change]:
        """Creates, changes and removes watches as `watches` declares, in one transaction.

        Writers queue behind an installation that waits for a table's lock. So it waits at most `lock_timeout` seconds,
        lets the writers pass, and tries again a few times. Raises LockTimeoutError when nothing was changed.
        """
        milliseconds = {"timeout": f"{lock_timeout * 1000:.0f}ms"}
        await query(self._connection, _LOCK_TIMEOUT, milliseconds)
        backoff = Backoff()
        for _ in range(_TRIES - 1):
            with suppress(LockTimeoutError):
                return await self._changes("apply", watches, prune)
            await anyio.sleep(backoff.next())
        try:
            return await self._changes("apply", watches, prune)
        except LockTimeoutError as error:
            raise LockTimeoutError(
                f"could not lock the tables in {_TRIES} tries of {lock_timeout:g} s, so nothing was changed; "
                "run it when no long transaction uses these tables, or give a longer --lock-timeout"
            ) from error

    async def status(self) -> list[StreamStatus]:
        """Returns the status of all streams, ordered by name."""
        return [StreamStatus(**row._asdict()) for row in await query(self._connection, _STATUS, slow=True)]

    async def waiting(self, streams: Sequence[str]) -> list[tuple[str, int, datetime | None]]:
        """Returns each stream with the number of its waiting events (up to a million) and the time of the oldest."""
        values = {"streams": list(streams), "at_most": _MOST_COUNTED}
        return [(row.stream, row.waiting, row.oldest) for row in await query(self._connection, _WAITING, values)]

    async def disk_use(self) -> dict[str, int]:
        """Returns how many bytes the log, the dead letters and the inbox use."""
        return dict(await query(self._connection, _DISK_USE, slow=True))

    async def drift(self) -> list[str]:
        """Returns the names of watches whose triggers are missing, are disabled, or no longer fit their table."""
        rows = await query(self._connection, _DRIFT, slow=True)
        return [row.name for row in rows]

    async def changed(self, within: float) -> bool:
        """Whether a watch was changed within this number of seconds. Call `listen` first."""
        with translated():
            return await notification(self._connection, within)

    async def listen(self) -> None:
        """Subscribes to changes of watches. Behind a pooler in transaction mode notifications never arrive."""
        # Behind such a pooler the server would keep all notifications for a session that never reads them.
        if not self._connection.pinned:
            await query(self._connection, _LISTEN)

    async def streams(self) -> list[str]:
        """Returns the names of all streams."""
        return [row.name for row in await query(self._connection, _STREAMS)]

    async def recycle(self, retention: float) -> list[int]:
        """Truncates slots of the log that are delivered and older than `retention` seconds. Returns their numbers."""
        values = {"retention": timedelta(seconds=retention)}
        [(slots,)] = await query(self._connection, _RECYCLE, values, slow=True)
        return list(slots)

    async def refresh(self) -> int:
        """Renews the table and column numbers that capture uses; a restore changes them. Returns how many watches
        needed it."""
        [(number,)] = await query(self._connection, _REFRESH, slow=True)
        return int(number)

    async def set_aside(self) -> int:
        """Turns events that were loaded from another cluster without triggers into dead letters. Returns how many."""
        [(number,)] = await query(self._connection, _SET_ASIDE, slow=True)
        return int(number)

    async def forget(self, older_than: float) -> int:
        """Deletes entries of the inbox that are older than `older_than` seconds, at most 10,000. Returns how many."""
        values = {"older_than": timedelta(seconds=older_than)}
        [(number,)] = await query(self._connection, _FORGET, values, slow=True)
        return int(number)

    async def _changes(self, function: Literal["plan", "apply"], watches: Sequence[Watch], prune: bool) -> list[Change]:
        values = {"wanted": msgspec.json.encode([w.definition() for w in watches]).decode(), "prune": prune}
        async with own_search_path(self._connection):
            rows = await query(self._connection, _CHANGES[function], values, slow=True)
        return [Change(**row._asdict()) for row in rows]
