"""Streams: what waits in each stream, what serves it, and how much space the log uses."""

from collections.abc import Sequence
from datetime import datetime, timedelta

import msgspec

from bridge.database.connection import Connection
from bridge.database.query import query
from bridge.database.statement import statement

_WAITING = statement("count_waiting")
_STATUS = statement("read_status")
_DISK_USE = statement("read_disk_use")
_STREAMS = statement("list_streams")
# Events are counted up to this number. A count reads all of them, and a long outage repeats it many times.
_MOST_COUNTED = 1_000_000


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


async def names(connection: Connection) -> list[str]:
    """Returns the names of all streams."""
    return [row.name for row in await query(connection, _STREAMS)]


async def status(connection: Connection) -> list[StreamStatus]:
    """Returns the status of all streams, ordered by name."""
    return [StreamStatus(**row._asdict()) for row in await query(connection, _STATUS, slow=True)]


async def waiting(connection: Connection, streams: Sequence[str]) -> list[tuple[str, int, datetime | None]]:
    """Returns each stream with the number of its waiting events (up to a million) and the time of the oldest."""
    values = {"streams": list(streams), "at_most": _MOST_COUNTED}
    return [(row.stream, row.waiting, row.oldest) for row in await query(connection, _WAITING, values)]


async def disk_use(connection: Connection) -> dict[str, int]:
    """Returns how many bytes the log, the dead letters and the inbox use."""
    return dict(await query(connection, _DISK_USE, slow=True))
