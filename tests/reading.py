"""Reading: writes rows of the table item, and delivers their events as a relay does."""

import psycopg

from bridge.stream.event_log import EventLog

SAME_ID = """
insert into bridge.event (id, stream, watch, op, key)
values (%s, 'default', 'item', 'insert', jsonb_build_array(%s::int))
"""


def insert(conn: psycopg.Connection, *ids: int) -> None:
    conn.execute("insert into item select unnest(%s::int[])", [list(ids)])


async def deliver_all(log: EventLog) -> list[int]:
    """Delivers all waiting events, moving the position as a relay does. Returns their keys."""
    keys: list[int] = []
    while (batch := await log.read()).events:
        keys += [event.key[0] for event in batch.events if event.key]
        await log.move(batch.position)
    await log.finish()
    return keys
