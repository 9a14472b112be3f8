"""The worker's integration, with tasks that run at once: what a task writes has the task as its context."""

import json
import logging
from collections.abc import Iterator
from typing import Any

import pytest
from celery import Celery

import bridge
from bridge import scope, worker
from bridge.publisher.template import somebody_listens

HEADER: dict[str, Any] = {
    "id": 5,
    "watch": "w",
    "operation": "update",
    "at": "2026-01-01T00:00:00+00:00",
    "context": {"user": 7},
}

HEADERS: Any = {"bridge": HEADER}


@pytest.fixture(autouse=True)
def installed() -> Iterator[None]:
    worker.install()
    worker.install()
    yield
    worker.install()  # the Django app of this process has it too
    assert scope.opened() == ()


@pytest.fixture
def app() -> Celery:
    return Celery("work", set_as_current=False)


def test_a_task_has_its_event_as_context(app: Celery) -> None:
    seen: list[Any] = []

    @app.task(name="t", shared=False)
    def work(key: int) -> None:
        seen.append(scope.current())
        with bridge.context(step=1):
            seen.append(scope.current())

    work.apply((7,), task_id="a", headers=HEADERS)
    own = {
        "user": 7,
        "task": "t",
        "task_id": "a",
        "cause": {"id": 5, "watch": "w", "key": [7]},
        "depth": 1,
        "chain": ["w"],
    }
    assert seen == [own, {**own, "step": 1}]


def test_a_task_that_nothing_of_ours_started_is_named_too(app: Celery) -> None:
    @app.task(name="t", shared=False)
    def work() -> dict[str, Any]:
        return scope.current()

    assert work.apply((), task_id="a").get() == {"task": "t", "task_id": "a"}
    with bridge.context(reason="request"):
        assert work.apply((), task_id="b").get() == {"reason": "request", "task": "t", "task_id": "b"}


def test_tasks_inside_of_tasks_end_in_order(app: Celery) -> None:
    seen: list[Any] = []

    @app.task(name="inner", shared=False)
    def inner() -> None:
        seen.append(scope.current()["task"])
        raise ZeroDivisionError

    @app.task(name="outer", shared=False)
    def outer() -> None:
        inner.apply((), task_id="i")
        seen.append(scope.current()["task"])

    outer.apply((), task_id="o")
    assert seen == ["inner", "outer"]


def taken(app: Celery) -> dict[str, Any]:
    """Takes a message from the queue; returns its headers."""
    with app.connection_for_read() as connection:
        channel: Any = connection.default_channel
        headers: dict[str, Any] = channel.basic_get("celery", no_ack=True).headers
        return headers


def passed(app: Celery, **options: Any) -> Any:
    """Returns the header that a task's call of another one has, and what that one's context is then."""
    inner = app.tasks["inner"]

    @app.task(name="outer", shared=False)
    def outer() -> None:
        with bridge.context(step=1, **options.pop("context", {})):
            inner.apply_async(**options)

    outer.apply((), task_id="o", headers=HEADERS)
    headers: Any = taken(app)
    return headers.get("bridge_context"), inner.apply((), task_id="i", headers=headers).get()


@pytest.fixture
def calling() -> Celery:
    app = Celery("calling", broker="memory://", set_as_current=False)

    @app.task(name="inner", shared=False)
    def inner() -> dict[str, Any]:
        return scope.current()

    return app


def test_a_task_that_a_task_calls_has_its_callers_context(calling: Celery) -> None:
    header, found = passed(calling)
    assert isinstance(header, str)
    cause = {"id": 5, "watch": None, "key": None}
    assert found == {
        "user": 7, "step": 1, "task": "inner", "task_id": "i", "cause": cause, "depth": 1, "chain": ["w"],
    }  # fmt: skip


def test_a_call_for_later_begins_anew(calling: Celery) -> None:
    assert passed(calling, countdown=60) == (None, {"task": "inner", "task_id": "i"})


def test_the_body_of_a_chord_has_the_context_of_who_made_the_chord(calling: Celery) -> None:
    @calling.task(name="outer", shared=False)
    def outer() -> None:
        calling.tasks["celery.chord_unlock"].apply_async(("id", {}), countdown=1)

    outer.apply((), task_id="o", headers=HEADERS)
    assert json.loads(taken(calling)["bridge_context"])["chain"] == ["w"]


def test_a_large_context_is_not_passed_on_but_its_depth_is(calling: Celery) -> None:
    header, found = passed(calling, context={"much": "x" * 15_000})
    assert len(header) < 100
    assert (found["depth"], found["chain"], found.get("user")) == (1, ["w"], None)


@pytest.mark.parametrize("text", ["", "{", "7", '"x"', "[" * 5000, 7, None, {"depth": 3}, '{"cause": {"id": "x"}}'])
def test_a_forged_context_of_a_caller_fails_no_task(calling: Celery, text: Any) -> None:
    found = calling.tasks["inner"].apply((), task_id="i", headers={"bridge_context": text}).get()
    assert (found["task"], found.get("depth", 0)) == ("inner", 0)


def test_the_bridge_itself_is_no_task(calling: Celery) -> None:
    with bridge.context(step=1):
        calling.tasks["inner"].delay()
    assert "bridge_context" not in taken(calling)
    assert not somebody_listens()


class Forged:
    """A value that JSON can't express, as a serializer other than JSON may bring it."""


@pytest.mark.parametrize(
    "header",
    [
        7,
        "x",
        [],
        {"watch": Forged(), "context": {"a": Forged()}},
        {"watch": "w", "context": {"depth": Forged(), (1, 2): 3}},
        {"watch": "w", "id": float("nan"), "context": {"a": "\ud800"}},
    ],
)
def test_a_forged_header_fails_no_task(app: Celery, header: Any, caplog: pytest.LogCaptureFixture) -> None:
    @app.task(name="t", shared=False)
    def work(*args: Any) -> str:
        return scope.as_setting()

    with caplog.at_level(logging.WARNING):
        text = work.apply((Forged(),), task_id="a", headers={"bridge": header}).get()
    assert '"task": "t"' in text
    assert all(record.message == "a task's header can't be its context" for record in caplog.records)


def test_it_can_be_turned_off(app: Celery) -> None:
    @app.task(name="t", shared=False)
    def work() -> str:
        return scope.as_setting()

    worker.uninstall()
    assert work.apply(()).get() == ""
