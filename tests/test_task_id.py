"""The task id: one event has one id, two events have different ids, and SQL can compute them."""

import itertools
from uuid import UUID, uuid5

import psycopg
import pytest
from msgspec.structs import replace

from bridge.call import Call, Target, Targets, call_for
from bridge.event import Event
from bridge.flow.coalesce import coalesce
from bridge.stream.event_log import EventLog
from bridge.task_id import NAMESPACE
from tests.fix_postgres import Database

pytestmark = pytest.mark.anyio

TARGETS = Targets({"item": Target("shop.touch", {"coalesce": True})})


@pytest.fixture(autouse=True)
def item(conn: psycopg.Connection) -> None:
    conn.execute("create table item (id int primary key)")
    conn.execute("select bridge.watch('item', 'item', 'shop.touch')")


async def read(database: Database) -> list[Event]:
    async with EventLog.open(database.dsn, "default", 1000) as log:
        await log.own()
        return list((await log.read()).events)


def task_id(event: Event) -> str:
    call = call_for(event, TARGETS)
    assert isinstance(call, Call)
    return call.task_id


@pytest.mark.parametrize(
    "at",
    ["now()", "'1969-07-20 20:17:40.123457'", "'0001-01-02'", "'9999-12-30 23:59:59.999999'", "'2026-03-29 02:30+02'"],
)
async def test_sql_computes_what_the_bridge_does(database: Database, conn: psycopg.Connection, at: str) -> None:
    conn.execute("insert into item values (1)")
    conn.execute(f"update bridge.event set at = {at}".encode())
    conn.execute("set timezone = 'Asia/Kathmandu'")
    named = "select concat_ws('/', watch, id, (extract(epoch from at) * 1000000)::bigint) from bridge.event"
    [(name,)] = conn.execute(named).fetchall()
    [event] = await read(database)
    assert task_id(event) == str(uuid5(NAMESPACE, name))


async def test_an_id_that_the_sequence_gives_twice_makes_two_tasks(
    database: Database, conn: psycopg.Connection
) -> None:
    """An asynchronous failover, a point-in-time recovery or a restored backup sets a sequence back."""
    conn.execute("insert into item values (1)")
    [first] = await read(database)
    conn.execute("select setval('bridge.event_id', %s, false)", [first.id])
    conn.execute("insert into item values (2)")
    before, after = await read(database)
    assert before.id == after.id
    assert task_id(before) == task_id(first)
    assert task_id(before) != task_id(after)


async def test_a_coalesced_task_differs_where_one_of_its_events_does(
    database: Database, conn: psycopg.Connection
) -> None:
    conn.execute("insert into item values (1)")
    conn.execute("delete from item")
    conn.execute("insert into item values (1)")
    events = await read(database)
    twins = [replace(one, at=one.at.replace(microsecond=(one.at.microsecond + 1) % 1_000_000)) for one in events]
    ids = set()
    for some in itertools.product(*zip(events, twins, strict=True)):
        [one] = coalesce(some, TARGETS)
        ids.add(task_id(one))
        # The order in which events are combined must not matter.
        [again] = coalesce([*coalesce(some[:2], TARGETS), some[2]], TARGETS)
        assert task_id(again) == task_id(one)
    assert len(ids) == 8


async def test_it_survives_dead_letter_and_retry(database: Database, conn: psycopg.Connection) -> None:
    conn.execute("insert into item values (1)")
    [event] = await read(database)
    conn.execute("select bridge.bury('default', array[id], array[at], array[xid], '{x}') from bridge.event")
    conn.execute("truncate bridge.event")
    conn.execute("select bridge.retry(watch => 'item')")
    [again] = await read(database)
    assert again.xid != event.xid
    assert task_id(again) == task_id(event)
    UUID(task_id(again))
