"""A task that was sent in a transaction reaches the worker exactly as Celery itself would have sent it."""

import decimal
import json
import uuid
from datetime import UTC, date, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import kombu
import pytest
from celery import chain
from django.db import transaction
from django.utils.translation import gettext_lazy

from django_app.errors import SendError
from django_app.testing import canvas, eager
from django_app.testing.chords import Chords
from tests.django.sending_app import shop
from tests.django.sent import arrived, calls, events, publish
from tests.fix_postgres import Database

ETA = datetime(2100, 1, 2, 3, 4, 5, 678901, UTC)
ID = str(uuid.uuid4())

OPTIONS: dict[str, dict[str, Any]] = {
    "nothing": {},
    "a countdown": {"countdown": 3600},
    "an eta": {"eta": ETA},
    "an eta of another zone": {"eta": ETA.astimezone(timezone(timedelta(hours=5, minutes=45)))},
    "an eta without a zone": {"eta": ETA.replace(tzinfo=None)},
    "an eta that is a text": {"eta": ETA.isoformat()},
    "expires in seconds": {"expires": 3600},
    "expires at a time": {"expires": ETA},
    "a priority": {"priority": 7},
    "a queue": {"queue": "slow"},
    "a queue as an object": {"queue": kombu.Queue("slow")},
    "an exchange and a key": {"exchange": "slow", "routing_key": "slow"},
    "headers": {"headers": {"tenant": "a", "deep": {"x": [1, 1e16, None]}}},
    "an id": {"task_id": ID},
    "an id of another kind": {"task_id": "order-17.retry:3"},
    "limits": {"time_limit": 60, "soft_time_limit": 30.5},
    "a shadow": {"shadow": "another name"},
    "an ignored result": {"ignore_result": True},
    "options that are None": {"priority": None, "compression": None, "headers": None, "expires": None},
    "retries": {"retries": 3},
    "a transient message": {"delivery_mode": 1},
    "compression": {"compression": "zlib"},
    "hidden arguments": {"argsrepr": "(...)", "kwargsrepr": "{...}"},
    "relatives": {"root_id": ID, "parent_id": ID, "group_id": ID, "group_index": 2},
    "no retry of publishing": {"retry": False, "retry_policy": {"max_retries": 1}},
    "json": {"serializer": "json"},
}

LINKS: dict[str, Any] = {
    "a link": lambda add: {"link": add.s(1)},
    "links": lambda add: {"link": [add.s(1).set(queue="slow", countdown=3), add.si(2)]},
    "an error's link": lambda add: {"link_error": add.s(1)},
    "a chain": lambda add: {"chain": [add.s(1), add.s(2)]},
    "a chord": lambda add: {"chord": add.s(1), "group_id": ID},
}

VALUES: dict[str, Any] = {
    "numbers": [1, -1, 2**63, 2**70, 1.5, 1e16, -0.0, 1e-300],
    "texts": ["", "ü", "\0", '"', "\u2028", "😀"],
    "nested": [{"b": 1, "a": [None, True, {}]}, (1, 2)],
    "keys": [{1: "a", None: "b", False: "c"}],
    "times": [datetime(2026, 1, 1, tzinfo=UTC), datetime(2026, 1, 1), date(2026, 1, 1)],  # noqa: DTZ001 - a naive one
    "others": [decimal.Decimal("1.10"), uuid.UUID(ID), b"\xff", b"text"],
    "a lazy text": [gettext_lazy("yes")],
}


def comparable(message: dict[str, Any]) -> dict[str, Any]:
    """Returns a message without what differs between two calls."""
    headers = {name: value for name, value in message["headers"].items() if name != "bridge"}
    headers |= {name: moment(headers[name]) for name in ("eta", "expires")}
    # For logs only. PostgreSQL can't hold a NUL.
    headers |= {name: headers[name].replace("\0", "\\0") for name in ("argsrepr", "kwargsrepr")}
    # The property reply_to is an address for results of the backend rpc://, which a task in a transaction can't have.
    # Celery publishes the options argsrepr and kwargsrepr a second time, as properties.
    left_out = {"reply_to", "argsrepr", "kwargsrepr"}
    properties = {name: value for name, value in message["properties"].items() if name not in left_out}
    properties["expiration"] = "expiration" in properties
    named = {"headers": headers, "properties": properties, "body": message["body"]}
    ours: dict[str, Any] = renamed(named, headers["id"])
    return ours


def renamed(value: Any, task_id: str) -> Any:
    """Returns the value with another text for the task's id."""
    if isinstance(value, dict):
        return {name: renamed(inner, task_id) for name, inner in value.items()}
    if isinstance(value, list):
        return [renamed(inner, task_id) for inner in value]
    return "its id" if value == task_id else value


def moment(time: str | None) -> str | None:
    """Returns a time to the minute, since two calls with a countdown are not made at once."""
    if time is None:
        return None
    parsed = datetime.fromisoformat(time)
    return (parsed if parsed.tzinfo else parsed.replace(tzinfo=UTC)).astimezone(UTC).strftime("%Y-%m-%d %H:%M")


def both(log: Database, app: Any, args: Any, kwargs: Any, options: dict[str, Any], queue: str = "sending") -> Any:
    """Returns the message that the bridge publishes for a call, and the one that Celery publishes."""
    task = app.tasks["sending.echo"]
    with app.connection_for_write() as connection:
        kombu.Queue("slow", kombu.Exchange("slow"), "slow")(connection.default_channel).declare()
    with transaction.atomic():
        task.apply_async(args, kwargs, **options)
    assert arrived(app, queue) == []
    publish(app, events(log)[-1:])
    [ours] = arrived(app, queue)
    task.apply_async(args, kwargs, **options)
    [theirs] = arrived(app, queue)
    return ours, theirs


def test_every_option_has_the_same_effect(log: Database, app: Any) -> None:
    for kind, options in OPTIONS.items():
        queue = "slow" if "slow" in repr(options) else "sending"
        ours, theirs = both(log, app, (1,), {"b": 2, "a": 1}, options, queue)
        assert comparable(ours) == comparable(theirs), kind


def test_every_callback_is_the_same(log: Database, app: Any) -> None:
    for kind, options in LINKS.items():
        ours, theirs = both(log, app, (1,), {}, options(app.tasks["sending.add"]))
        assert comparable(ours) == comparable(theirs), kind


def test_every_value_is_the_same(log: Database, app: Any) -> None:
    for kind, values in VALUES.items():
        ours, theirs = both(log, app, [values], {"named": values}, {})
        assert repr(ours["body"][:2]) == repr(theirs["body"][:2]), "the types and the order of keys are the same too"
        assert comparable(ours) == comparable(theirs), kind


def circle() -> list[Any]:
    values: list[Any] = []
    values.append(values)
    return values


def test_a_value_that_json_cannot_hold_is_an_error_of_the_caller(log: Database, app: Any) -> None:
    echo = app.tasks["sending.echo"]
    wrong: list[Any] = [object(), {1, 2}, float("nan"), float("inf"), circle(), "\ud800", {"a": object()}, {(1, 2): 3}]
    with transaction.atomic():
        for value in wrong:
            for options in (
                {"args": (value,)},
                {"kwargs": {"a": value}},
                {"link": echo.s(value)},
                {"headers": {"a": value}},
            ):
                with pytest.raises(SendError, match=r'task "sending\.echo": ') as caught:
                    echo.apply_async(**({"args": (1,)} | options))
                assert "\n" not in str(caught.value)
        echo.delay(1)  # the transaction goes on
    assert len(calls(log)) == 1


WRONG: list[tuple[dict[str, Any], str]] = [
    ({"connection": "x"}, "option 'connection' can't be used"),
    ({"serializer": "pickle"}, "serializer 'pickle' can't be used"),
    ({"MessageGroupId": "x"}, "option 'MessageGroupId' can't be sent"),
    ({"stamped_headers": ["a"], "a": 1}, "a stamped task"),
    ({"headers": {"task": "os.system"}}, "header 'task' is Celery's own"),
    ({"headers": {"_x": 1}}, "Celery's own"),
    ({"task_id": "a b"}, "the id 'a b' must have"),
    ({"task_id": str(uuid.uuid5(uuid.NAMESPACE_URL, "x"))}, "version 5"),
    ({"exchange": "celery.pidbox", "routing_key": "x"}, "reserved"),
    ({"queue": "amq.x"}, "reserved"),
    ({"priority": 300}, "priority"),
    ({"headers": {1: 2}}, "not a dict with texts as keys"),
    ({"headers": [("a", 1)]}, "not a dict with texts as keys"),
    ({"compression": "nope"}, "compression 'nope' is not known"),
    ({"eta": datetime(9999, 12, 31, 23, tzinfo=timezone(-timedelta(hours=5)))}, "not a date in UTC"),
]


def test_what_cannot_be_sent_is_an_error_of_the_caller(log: Database, app: Any) -> None:
    for options, said in WRONG:
        with transaction.atomic(), pytest.raises(SendError, match=said):
            app.tasks["sending.add"].apply_async((1,), **options)
    assert events(log) == []


def test_an_option_that_is_none_is_the_default(log: Database, app: Any) -> None:
    with transaction.atomic():
        app.tasks["sending.add"].apply_async((1,), ignore_result=None)
    [call] = calls(log)
    assert call.message
    assert call.message.protocol.ignore_result is False


def test_parameters_may_be_positional_as_with_celery(log: Database, app: Any) -> None:
    echo = app.tasks["sending.echo"]
    with transaction.atomic():
        echo.apply_async((1,), {}, ID, None, echo.s(), None, "shadow")
    [call] = calls(log)
    assert call.message
    assert (call.task_id, call.message.protocol.shadow) == (ID, "shadow")
    assert [callback["task"] for callback in call.message.embed["callbacks"]] == ["sending.echo"]


def test_wrong_arguments_are_found_at_the_call_as_with_celery(log: Database, app: Any) -> None:
    with transaction.atomic(), pytest.raises(TypeError, match="missing 1 required positional argument"):
        app.tasks["sending.total"].delay()
    assert events(log) == []


def test_an_app_with_another_serializer_sends_what_json_keeps(log: Database, app: Any) -> None:
    app.conf.task_serializer = "pickle"
    echo = app.tasks["sending.echo"]
    with transaction.atomic():
        echo.delay({"a": [1, None, "x"]})
        for value in ((1, 2), {1: 2}, [(1,)]):
            with pytest.raises(SendError, match="its serializer is 'pickle', but the message would be JSON"):
                echo.delay(value)
    assert len(calls(log)) == 1
    app.conf.accept_content = ["pickle"]
    with transaction.atomic(), pytest.raises(SendError, match="Add 'json' to it"):
        echo.delay(1)


def test_the_apps_routes_decide_in_the_caller(log: Database, app: Any) -> None:
    def route(name: str, args: Any, kwargs: Any, options: Any, task: Any = None, **_: Any) -> Any:
        return {"queue": "slow"} if args == (2,) else None

    app.conf.task_routes = [route]
    with transaction.atomic():
        for number in (1, 2):
            app.tasks["sending.add"].delay(number)
    assert [call.message and call.message.protocol.queue for call in calls(log)] == ["sending", "slow"]


def test_an_app_with_the_old_protocol_is_told_so(log: Database) -> None:
    app = shop("memory://")
    app.conf.task_protocol = 1
    with transaction.atomic(), pytest.raises(SendError, match="task_protocol = 1"):
        app.tasks["sending.add"].delay(1)


def test_an_event_that_monitors_get_is_not_sent_twice(log: Database) -> None:
    app = shop("memory://")
    app.conf.task_send_sent_event = True
    with transaction.atomic():
        app.tasks["sending.add"].delay(1)
    assert [call.target.task for call in calls(log)] == ["sending.add"]


def test_the_testing_kit_runs_what_a_worker_would_run(
    log: Database, app: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(eager, "load_app", lambda: app)
    monkeypatch.setenv("SENDING_NOTES", str(tmp_path / "notes"))
    add, echo = app.tasks["sending.add"], app.tasks["sending.echo"]
    with transaction.atomic():
        add.apply_async((1, 2), link=echo.s("linked"))
        chain(add.s(1), add.s(10), echo.s("last")).apply_async()
        echo.delay(decimal.Decimal("1.10"))
    assert [canvas.run(call, Chords()) for call in calls(log)] == [3, 1, "Decimal('1.10')"]
    notes = [json.loads(line)["values"] for line in (tmp_path / "notes").read_text().splitlines()]
    assert notes == [
        ["1", "2"],
        ["3", "'linked'", "{}"],
        ["1"],
        ["1", "10"],
        ["11", "'last'", "{}"],
        ["Decimal('1.10')", "{}"],
    ]
