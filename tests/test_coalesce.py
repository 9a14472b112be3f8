"""Events of one watch and key that are read together become one task; and how the id of a task is made."""

from datetime import UTC, datetime
from uuid import uuid5

import psycopg
from hypothesis import given
from hypothesis import strategies as st
from psycopg.types.json import Jsonb

from bridge.call import Call, Refusal, Target, Targets, call_for
from bridge.event import Event
from bridge.flow.coalesce import coalesce
from bridge.task_id import NAMESPACE, id_of
from tests.celery_queue import inbox
from tests.fix_bridge import Bridges
from tests.fix_broker import Broker
from tests.fix_postgres import Database, on_pg18

AT = datetime(2026, 11, 24, tzinfo=UTC)
MICROSECONDS = 1_795_478_400_000_000
TARGETS = Targets({"one": Target("t", {"coalesce": True, "call": "event"}), "each": Target("t", {})})


def event(number: int, watch: str, key: int | None, **data: object) -> Event:
    return Event(number, watch, "update", None if key is None else [key], data or None, None, AT)


def ids(events: list[Event]) -> list[list[int]]:
    return [[origin.id for origin in one.origins] for one in coalesce(events, TARGETS)]


def test_events_of_one_key_become_one_where_the_newest_stood() -> None:
    assert ids([event(1, "one", 7), event(2, "one", 8), event(3, "one", 7)]) == [[2], [1, 3]]


def test_other_watches_keys_and_truncates_stay_apart() -> None:
    events = [event(1, "each", 7), event(2, "one", None), event(3, "each", 7), event(4, "one", None)]
    assert ids(events) == [[1], [2], [3], [4]]


def test_what_was_coalesced_can_be_coalesced_with_what_comes_later() -> None:
    first = coalesce([event(1, "one", 7), event(2, "one", 8), event(3, "one", 7)], TARGETS)
    assert ids([*first, event(4, "one", 7), event(5, "one", 8)]) == [[1, 3, 4], [2, 5]]


def test_the_task_has_the_newest_values_and_what_was_before_all() -> None:
    first = event(1, "one", 7, old={"a": 1}, new={"a": 2}, changed=["a"], old_key=[6])
    second = event(2, "one", 7, old={"a": 2}, new={"a": 3}, changed=["b"])
    [both] = coalesce([first, second], TARGETS)
    call = call_for(both, TARGETS)
    assert isinstance(call, Call)
    [argument] = call.args
    assert (argument["old"], argument["new"], argument["changed"]) == ({"a": 1}, {"a": 3}, ["a", "b"])
    assert argument["old_key"] == [6]
    assert call.headers["bridge"]["coalesced"] == 2
    assert call.headers["bridge"]["id"] == 2


def test_another_set_of_events_is_another_task() -> None:
    sets = [[5, 7], [5, 6, 7], [7], [5, 7]]
    calls = [
        call_for(one, TARGETS) for numbers in sets for one in coalesce([event(n, "one", 7) for n in numbers], TARGETS)
    ]
    a, b, c, again = [call.task_id for call in calls if isinstance(call, Call)]
    assert len({a, b, c}) == 3
    assert again == a
    assert c == str(uuid5(NAMESPACE, f"one/7/{MICROSECONDS}"))
    assert a == str(uuid5(NAMESPACE, f"one/5/{MICROSECONDS},7/{MICROSECONDS}"))


@given(st.text())
def test_task_ids_are_uuid5(name: str) -> None:
    assert id_of(name) == str(uuid5(NAMESPACE, name))


@on_pg18
def test_a_backlog_of_one_row_is_one_task(
    database: Database, conn: psycopg.Connection, valkey: Broker, run_bridge: Bridges
) -> None:
    conn.execute("create table product (id int primary key, price int)")
    conn.execute("insert into product select n, 0 from generate_series(1, 100) n")
    options = Jsonb({"queue": valkey.queue, "coalesce": True})
    conn.execute("select bridge.watch('p', 'product', 'shop.touch', '{update}', options => %s)", [options])
    for _ in range(20):
        conn.execute("update product set price = price + 1")
    run_bridge(database.dsn, broker_url=valkey.url)
    with inbox(valkey) as tasks:
        assert sorted(task.args[0] for task in tasks.take(100)) == [*range(1, 101)]
        conn.execute("update product set price = 0 where id = 1")
        assert [task.args for task in tasks.take(1)] == [[1]]
        assert tasks.waiting() == 0


def deep(number: int, depth: int | None) -> Event:
    context = None if depth is None else f'{{"depth": {depth}, "user": {number}}}'
    return Event(number, "one", "update", [7], None, context, AT)


def test_the_end_of_a_chain_takes_no_other_change_of_its_row_with_it() -> None:
    events = coalesce([deep(1, 3), deep(2, 20), deep(3, None), deep(4, 21)], TARGETS)
    assert [[origin.id for origin in one.origins] for one in events] == [[2], [1, 3], [4]]
    assert [type(call_for(one, TARGETS)) for one in events] == [Refusal, Call, Refusal]


def test_a_merged_event_has_the_newest_context_of_the_shortest_chain() -> None:
    [one] = coalesce([deep(1, 1), deep(2, None), deep(3, 0), deep(4, 19)], TARGETS)
    assert (one.id, one.context) == (4, deep(3, 0).context)
    [one] = coalesce([deep(1, 2), deep(2, 2)], TARGETS)
    assert one.context == deep(2, 2).context
