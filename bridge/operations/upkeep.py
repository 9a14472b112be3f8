"""Upkeep: what has to be removed or repaired in the log and the inbox from time to time."""

from datetime import timedelta

from bridge.database.connection import Connection
from bridge.database.query import query
from bridge.database.statement import statement

_RECYCLE = statement("recycle_slots")
_SET_ASIDE = statement("set_aside_events")
_FORGET = statement("forget_task_ids")


async def recycle(connection: Connection, retention: float) -> list[int]:
    """Truncates slots of the log that are delivered and older than `retention` seconds. Returns their numbers."""
    values = {"retention": timedelta(seconds=retention)}
    [(slots,)] = await query(connection, _RECYCLE, values, slow=True)
    return list(slots)


async def set_aside(connection: Connection) -> int:
    """Turns events that were loaded from another cluster without triggers into dead letters. Returns how many."""
    [(number,)] = await query(connection, _SET_ASIDE, slow=True)
    return int(number)


async def forget(connection: Connection, older_than: float) -> int:
    """Deletes entries of the inbox that are older than `older_than` seconds, at most 10,000. Returns how many."""
    values = {"older_than": timedelta(seconds=older_than)}
    [(number,)] = await query(connection, _FORGET, values, slow=True)
    return int(number)
