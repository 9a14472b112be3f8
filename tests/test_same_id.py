"""Events that have one id, as a failover makes them: each is read."""

import psycopg
import pytest

from bridge.stream.event_log import EventLog
from tests.fix_postgres import Database
from tests.reading import SAME_ID, deliver_all

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("item")]


@pytest.mark.parametrize("ids", [(7, 7, 7, 7, 7), (1, 7, 7, 8, 9), (1, 2, 7, 7, 7, 8), (-(2**63), 7, 7)])
@pytest.mark.parametrize("size", [1, 2, 3])
async def test_events_that_have_one_id_are_all_read_wherever_a_batch_ends(
    database: Database, conn: psycopg.Connection, ids: tuple[int, ...], size: int
) -> None:
    """A failover, or the retry of a dead letter, gives an id twice.

    A batch that ends between the two events must not treat the second one as delivered, neither in this session nor
    after a takeover.
    """
    for key, number in enumerate(ids):
        conn.execute(SAME_ID, [number, key])
    async with EventLog.open(database.dsn, "default", size) as log:
        await log.own()
        assert sorted(set(await deliver_all(log))) == list(range(len(ids)))
    conn.execute("truncate bridge.event")
    for key, number in enumerate(ids):
        conn.execute(SAME_ID, [number, key])
    delivered = set()
    for _ in ids:
        # Each session delivers a few batches and dies.
        async with EventLog.open(database.dsn, "default", size) as log:
            await log.own()
            for _ in range(len(ids)):
                batch = await log.read()
                delivered |= {event.key[0] for event in batch.events if event.key}
                await log.move(batch.position)
                if len(batch.events) == 0 or len(delivered) % 2:
                    break
    async with EventLog.open(database.dsn, "default", size) as log:
        await log.own()
        delivered |= set(await deliver_all(log))
    assert delivered == set(range(len(ids)))


@pytest.mark.parametrize("size", [1, 2, 3])
async def test_events_with_the_smallest_id_of_all_are_all_read(
    database: Database, conn: psycopg.Connection, size: int
) -> None:
    """An `after_id` below this id does not exist."""
    ids = (-(2**63), -(2**63), -(2**63), 7, 8, 9)
    for key, number in enumerate(ids):
        conn.execute(SAME_ID, [number, key])
    delivered = []
    for _ in ids:
        # Each session delivers two batches and dies.
        async with EventLog.open(database.dsn, "default", size) as log:
            await log.own()
            for _ in range(2):
                batch = await log.read()
                delivered += [event.key[0] for event in batch.events if event.key]
                await log.move(batch.position)
    async with EventLog.open(database.dsn, "default", size) as log:
        await log.own()
        assert sorted({*delivered, *await deliver_all(log)}) == list(range(len(ids)))


async def test_events_with_one_id_are_all_read_when_the_log_is_rewritten_meanwhile(
    database: Database, conn: psycopg.Connection
) -> None:
    """CLUSTER reorders the rows between the look and the walk. The walk repeats as much as it must."""
    for key in range(4):
        conn.execute(SAME_ID, [7, key])
    conn.execute("create function back(key jsonb) returns int immutable language sql return -(key->>0)::int")
    async with EventLog.open(database.dsn, "default", 1) as log:
        await log.own()
        first = await log.read()
        for slot in range(8):
            conn.execute(f"create index turned_{slot} on bridge.event_{slot} (back(key))".encode())
            conn.execute(f"cluster bridge.event_{slot} using turned_{slot}".encode())
        await log.move(first.position)
        assert [event.key for event in first.events] == [[0]]
        assert sorted(await deliver_all(log)) == [0, 1, 2, 3]
