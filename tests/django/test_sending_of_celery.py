"""Tasks as part of the transaction: calls that Celery makes itself, and what it adds to a call."""

from typing import Any

import pytest
from celery import _state, chain, chord, signals
from celery.beat import ScheduleEntry, Scheduler
from celery.exceptions import Ignore, Retry
from celery.schedules import schedule
from django.db import transaction

from django_app.celery import (
    delay_in_transaction,
)
from tests.django.sending_app import shop
from tests.django.sent import arrived, calls, events, rolled_back
from tests.fix_postgres import Database

TASK_STACK: Any = vars(_state)["_task_stack"]


def test_always_eager_stays_eager(log: Database, app: Any) -> None:
    app.conf.task_always_eager = True
    with transaction.atomic():
        assert app.tasks["sending.add"].delay(1, 2).get() == 3
        assert app.tasks["sending.add"].delay_in_transaction(1, 2).get() == 3
        assert delay_in_transaction(app.tasks["sending.add"], 1, 2).get() == 3
    assert events(log) == []


def test_a_retry_inside_a_transaction_is_celerys_own(log: Database, app: Any) -> None:
    """`retry` ends the task by an exception. As part of the transaction, the retry would be rolled back with it."""
    insist = app.tasks["sending.insist"]
    insist.push_request(id="one", args=(3,), kwargs={}, called_directly=False, retries=0, delivery_info={})
    try:
        with pytest.raises(Retry), transaction.atomic():
            insist.run(3)
        with pytest.raises(Ignore), transaction.atomic():
            insist.replace(app.tasks["sending.add"].s(1))
    finally:
        insist.pop_request()
    assert [message["headers"]["task"] for message in arrived(app)] == ["sending.insist", "sending.add"]
    assert events(log) == []


def test_a_call_from_a_task_continues_its_tree(log: Database, app: Any) -> None:
    add = app.tasks["sending.add"]
    # A task that an event has started has an id of version 5.
    parent = "2b0b5c2e-2c1f-5d0a-9d53-0c7c5e1b7f5a"
    add.push_request(
        id=parent, root_id=parent, args=(), kwargs={}, called_directly=False, delivery_info={"priority": 4}
    )
    app.conf.task_inherit_parent_priority = True
    try:
        TASK_STACK.push(add)
        with transaction.atomic():
            result = add.delay(1)
            chain(add.s(1), add.s(2))()
        assert result in add.request.children
    finally:
        TASK_STACK.pop()
        add.pop_request()
    message = calls(log)[0].message
    assert message
    assert (message.protocol.root_id, message.protocol.parent_id, message.protocol.priority) == (parent, parent, 4)


def test_beat_sends_in_its_own_way(log: Database, app: Any) -> None:
    scheduler = Scheduler(app, lazy=True)
    entry = ScheduleEntry("each", "sending.add", schedule=schedule(60), args=(1,), app=app)
    scheduler.apply_async(entry)
    scheduler.close()
    assert [message["body"][0] for message in arrived(app)] == [[1]]
    assert events(log) == []


def test_headers_that_tracing_adds_are_sent(log: Database, app: Any) -> None:
    def trace(headers: dict[str, Any], **_: Any) -> None:
        headers["traceparent"] = "00-1-2-01"
        # Sentry adds its headers a second time, under this name.
        headers["headers"] = {"sentry-trace": "1-2"}

    signals.before_task_publish.connect(trace)
    try:
        with transaction.atomic():
            app.tasks["sending.add"].delay(1)
    finally:
        signals.before_task_publish.disconnect(trace)
    assert {"traceparent", "sentry-trace"} <= calls(log)[0].headers.keys()


def test_a_task_that_a_receiver_calls_is_part_of_the_transaction_too(log: Database, app: Any) -> None:
    add, echo = app.tasks["sending.add"], app.tasks["sending.echo"]

    def also(sender: str, **_: Any) -> None:
        if sender == "sending.add":
            echo.delay(1)

    signals.before_task_publish.connect(also)
    try:
        with rolled_back():
            add.delay(1)
        with transaction.atomic():
            add.delay(1)
    finally:
        signals.before_task_publish.disconnect(also)
    assert sorted(call.target.task for call in calls(log)) == ["sending.add", "sending.echo"]
    assert arrived(app) == []


def test_a_chord_without_native_joins_unlocks_as_part_of_the_transaction(log: Database, tmp_path: Any) -> None:
    app = shop("memory://", backend=f"file://{tmp_path}")
    add, total = app.tasks["sending.add"], app.tasks["sending.total"]
    with rolled_back():
        chord([add.s(1)], total.s())()
    with transaction.atomic():
        chord([add.s(1), add.s(2)], total.s())()
    assert [call.target.task for call in calls(log)] == ["celery.chord_unlock", "sending.add", "sending.add"]
    assert arrived(app) == []
