"""The worker's integration, with tasks that run at once: what a task writes has the task as its context."""

import logging
from collections.abc import Iterator
from typing import Any

import pytest
from celery import Celery

import bridge
from bridge import scope, worker

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
