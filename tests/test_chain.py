"""Chains of tasks: how they are followed, where they end, and what a forged context can do (only to its own event)."""

import json
from datetime import UTC, datetime
from typing import Any

import psycopg
import pytest

from bridge import chain
from bridge.batch import Batch, Position
from bridge.call import Call, Refusal, Target, Targets, call_for, without_own_writes
from bridge.event import Event
from bridge.flow.pace import Pace
from bridge.stream.event_log import EventLog
from tests.fix_postgres import Database, on_pg18

AT = datetime(2026, 11, 24, tzinfo=UTC)
TARGETS = Targets({"w": Target("t", {}), "own": Target("t", {"own_writes": "ignore"})})
PARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


def event(context: Any = None, watch: str = "w", key: list[Any] | None = None, data: Any = None) -> Event:
    text = context if context is None or isinstance(context, str) else json.dumps(context)
    return Event(1, watch, "update", key or [7], data, text, AT)


def test_a_chain_ends_after_twenty_tasks() -> None:
    context: Any = {"user": 7}
    for round_ in range(20):
        call = call_for(event(context), TARGETS)
        assert isinstance(call, Call), f"task {round_ + 1} must start"
        context = chain.task_context("t", call.task_id, call.headers["bridge"], [7])
        assert context["depth"] == round_ + 1
    refusal = call_for(event(context), TARGETS)
    assert isinstance(refusal, Refusal)
    assert "20 tasks have started each other" in refusal.reason
    assert "w -> w." in refusal.reason
    assert context["user"] == 7, "who began it is known to the end"
    assert len(context["chain"]) == 20


def test_a_task_that_is_sent_by_name_is_no_link_of_the_chain() -> None:
    """It may send itself again for ever, as a task that polls does, and write a watched row each time."""
    context: Any = {"user": 7, "depth": 20, "chain": ["w"] * 20}
    targets = Targets(sendable=frozenset({"poll"}))
    sent = Event(1, "", "send", None, {"task": "poll"}, json.dumps(context), AT)
    call = call_for(sent, targets)
    assert isinstance(call, Call)
    found = chain.task_context("poll", "id", call.headers["bridge"], None)
    assert (found["depth"], found["chain"], found["user"]) == (20, ["w"] * 20, 7)
    assert chain.task_context("poll", "id", {"operation": "send", "watch": "", "context": None}, None)["depth"] == 0


def test_the_circle_is_named() -> None:
    names = ["start", *["a", "b", "c"] * 6, "a"]
    assert ": a -> b -> c -> a." in chain.too_deep({"chain": names[:-1]}, "a")
    assert ": b -> c -> a -> b." in chain.too_deep({"chain": names}, "b")
    assert ": x." in chain.too_deep({"depth": 99}, "x")


FORGED: list[Any] = [
    "not json", "[]", "7", "null", '{"depth": "20"}', '{"depth": true}', '{"depth": -5}', '{"depth": 20.0}',
    '{"depth": null, "chain": 7}', '{"depth": [20]}', '{"depth": {"a": 20}}', '{"chain": ["w", 7, null, {"a": 1}]}',
    '{"cause": 7}', '{"cause": {"watch": 7, "key": 7}}', '{"cause": {"watch": "w"}}', '{"depth": 1e999}',
    '{"traceparent": 7}', '{"traceparent": "00-x"}', "[" * 5000, '{"a":' * 3000,
]  # fmt: skip


@pytest.mark.parametrize("context", FORGED, ids=lambda text: text[:20])
def test_a_context_of_another_form_changes_nothing(context: str) -> None:
    call = call_for(event(context), TARGETS)
    assert isinstance(call, Call)
    assert call.headers.keys() == {"bridge"}
    assert without_own_writes([event(context, "own")], TARGETS.ignoring) == [event(context, "own")]
    found = chain.task_context("t", "id", call.headers["bridge"], [7])
    assert found["depth"] == 1
    assert found["chain"][-1] == "w"


def test_a_forged_depth_ends_only_its_own_event() -> None:
    assert isinstance(call_for(event({"depth": 10**30}), TARGETS), Refusal)
    assert isinstance(call_for(event(), TARGETS), Call)
    found = chain.task_context(
        "t", "id", {"watch": "w", "context": {"depth": 10**30, "chain": ["x" * 10**6] * 99}}, [7]
    )
    assert found["depth"] == 21
    assert len(json.dumps(found)) < 3000


@pytest.mark.parametrize(
    "header", [None, 7, "x", [], {}, {"watch": None}, {"watch": ["w"], "context": "x"}, {"watch": "w" * 10**6}]
)
def test_a_forged_header_is_no_error(header: Any) -> None:
    for args in ((), (7,), [{"id": 1}], None, "x", {"a": 1}):
        found = chain.task_context("t", "id", header, chain.key_of(header, args))
        assert (found["task"], found["task_id"]) == ("t", "id")
        assert len(json.dumps(found)) < 1000


def test_values_of_the_bridge_are_not_inherited() -> None:
    before = {
        "user": 7,
        "reason": "x",
        "task": "old",
        "task_id": "old",
        "cause": {"key": [9]},
        "depth": 1,
        "chain": ["a"],
    }
    found = chain.task_context("t", "id", {"id": 5, "watch": "w", "context": before}, [7])
    assert found == {
        "user": 7,
        "reason": "x",
        "task": "t",
        "task_id": "id",
        "cause": {"id": 5, "watch": "w", "key": [7]},
        "depth": 2,
        "chain": ["a", "w"],
    }
    assert chain.task_context("t", "id", {"id": 5, "watch": "w", "context": "nightly"}, [7])["said"] == "nightly"


@pytest.mark.parametrize(
    ("cause", "is_own"),
    [
        ({"watch": "own", "key": [7]}, True),
        ({"watch": "own", "key": [8]}, False),
        ({"watch": "other", "key": [7]}, False),
        ({"watch": "own", "key": 7}, False),
        ({"watch": "own", "key": None}, False),
        ({"watch": "own", "key": []}, False),
        ({"key": [7]}, False),
    ],
)
def test_an_own_write_is_of_this_watch_and_this_row(cause: Any, is_own: bool) -> None:
    written = event({"cause": cause, "depth": 1}, "own")
    assert without_own_writes([written], TARGETS.ignoring) == ([] if is_own else [written])
    followed = event({"cause": cause, "depth": 1}, "w")
    assert without_own_writes([followed], TARGETS.ignoring) == [followed]


def test_a_change_of_the_key_is_an_own_write() -> None:
    moved = event({"cause": {"watch": "own", "key": [7]}}, "own", [8], {"old_key": [7]})
    assert without_own_writes([moved], TARGETS.ignoring) == []
    truncated = Event(1, "own", "truncate", None, None, moved.context, AT)
    assert without_own_writes([truncated], TARGETS.ignoring) == [truncated]


def test_the_key_is_found_in_the_arguments() -> None:
    header = {"id": 5, "watch": "w", "operation": "update"}
    assert chain.key_of(header, (7, "a")) == [7, "a"]
    assert chain.key_of(header, ({"id": 5, "watch": "w", "key": [7]},)) == [7]
    assert chain.key_of(header, ({"id": 5, "watch": "w", "key": None},)) is None
    assert chain.key_of(header, ({"id": 6, "watch": "w", "key": [7]},)) == [{"id": 6, "watch": "w", "key": [7]}]
    assert chain.key_of({**header, "operation": "send"}, (7,)) is None


def test_the_trace_goes_on() -> None:
    call = call_for(event({"traceparent": PARENT, "tracestate": "a=1"}), TARGETS)
    assert isinstance(call, Call)
    assert (call.headers["traceparent"], call.headers["tracestate"]) == (PARENT, "a=1")
    for state in ("a\r\nb", "ä", 7, "x" * 513):
        call = call_for(event({"traceparent": PARENT, "tracestate": state}), TARGETS)
        assert isinstance(call, Call)
        assert call.headers.keys() == {"bridge", "traceparent"}


def test_a_batch_of_which_nothing_is_left_has_a_pace() -> None:
    batch = Batch((), Position("1:1:"), 1, number=3)
    assert Pace(None).together(batch) == 1
    assert Pace(10.0).shortest(batch) == 0


@on_pg18
@pytest.mark.anyio
async def test_a_person_who_retries_the_end_of_a_chain_starts_a_new_one(
    database: Database, conn: psycopg.Connection
) -> None:
    conn.execute("create table item (id int primary key)")
    conn.execute("select bridge.watch('w', 'item', 't')")
    header = {"id": 5, "watch": "w", "context": {"depth": 19, "chain": ["w"] * 19, "dive": {"depth": 30}}}
    contexts = [json.dumps(chain.task_context("t", "id", header, [1])), "nightly", None]
    for number, context in enumerate(contexts):
        conn.execute(
            "insert into bridge.dead_letter (id, stream, watch, op, key, context, at, reason) "
            "values (%s, 'default', 'w', 'update', '[1]', %s, now(), 'because')",
            [number, context],
        )
    conn.execute("select bridge.retry(since => '-infinity')")
    async with EventLog.open(database.dsn, "default", 100) as log:
        await log.own()
        found = [one.context for one in (await log.read()).events]
    assert found[1:] == ["nightly", None]
    assert json.loads(found[0] or "") == {**json.loads(contexts[0] or ""), "depth": 0}
