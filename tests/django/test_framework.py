"""The backend for Django's tasks framework (Django 6). The first part follows Django's own tests of its backends."""

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any
from unittest import mock

import pytest
from asgiref.sync import sync_to_async
from celery.app import app_or_default
from django.db import connections, transaction
from django.test import override_settings

pytest.importorskip("django.tasks", reason="Django 5.2 has no tasks framework")

from django.tasks import TaskResultStatus, default_task_backend, task_backends
from django.tasks.exceptions import InvalidTask, TaskResultDoesNotExist, TaskResultMismatch
from django.tasks.signals import task_enqueued, task_finished, task_started

from bridge.call import Targets, call_for
from django_app import allowances
from django_app.framework import BridgeBackend
from tests.django import framework_tasks
from tests.django.fix_sending import SendingWorker
from tests.django.sending_app import shop
from tests.django.sent import allow, arrived, events, rolled_back
from tests.eventually import eventually
from tests.fix_bridge import Bridges
from tests.fix_postgres import Database

PREFIX = f"{framework_tasks.__name__}."
NAMES = [
    PREFIX + name
    for name in ("noop", "noop_async", "double", "fails", "unserializable", "leaves", "attempt_of", "get_task_id")
]


def settings(**options: Any) -> Any:
    return override_settings(TASKS={"default": {"BACKEND": "django_app.tasks.BridgeBackend", "QUEUES": [], **options}})


@pytest.fixture
def app() -> Iterator[Any]:
    before: Any = app_or_default()
    app = shop("memory://")
    app.set_current()
    yield app
    before.set_current()
    arrived(app)


@pytest.fixture
def framework(log: Database, app: Any) -> Iterator[Database]:
    allow(log, NAMES)
    with settings():
        yield log


def calls(database: Database) -> list[Any]:
    return [call_for(event, Targets(sendable=frozenset(NAMES))) for event in events(database)]


def test_using_correct_backend(framework: Database) -> None:
    assert default_task_backend == task_backends["default"]
    assert isinstance(task_backends["default"], BridgeBackend)
    assert default_task_backend.alias == "default"
    assert default_task_backend.options == {}


@pytest.mark.parametrize("task", [framework_tasks.noop, framework_tasks.noop_async], ids=lambda task: task.name)
def test_enqueue_task(framework: Database, task: Any) -> None:
    result = task.enqueue(1, two=3)
    assert result.status == TaskResultStatus.READY
    assert not result.is_finished
    assert (result.started_at, result.last_attempted_at, result.finished_at) == (None, None, None)
    with pytest.raises(ValueError, match="Task has not finished yet"):
        assert result.return_value
    assert (result.task, result.args, result.kwargs, result.attempts) == (task, [1], {"two": 3}, 0)
    assert result.enqueued_at is not None
    assert result.errors == []
    [call] = calls(framework)
    assert (call.target.task, call.task_id, call.args, call.kwargs) == (task.module_path, result.id, (1,), {"two": 3})


@pytest.mark.anyio
async def test_enqueue_task_async(framework: Database) -> None:
    try:
        result = await framework_tasks.noop_async.aenqueue()
    finally:
        await _close()
    assert result.status == TaskResultStatus.READY
    assert [call.task_id for call in calls(framework)] == [result.id]


async def _close() -> None:
    """Closes the connection of the thread that async code uses."""
    await sync_to_async(connections.close_all)()


def test_enqueue_logs(framework: Database, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("DEBUG", "django.tasks")
    result = framework_tasks.noop.enqueue()
    [line] = [record.getMessage() for record in caplog.records if record.name == "django.tasks"]
    assert "enqueued" in line
    assert result.id in line


def test_validate_disallowed_async_task(framework: Database) -> None:
    disallowed = mock.patch.multiple(default_task_backend, supports_async_task=False)
    with disallowed, pytest.raises(InvalidTask, match=r"Backend does not support async Tasks\."):
        default_task_backend.validate_task(framework_tasks.noop_async)


def test_check(framework: Database) -> None:
    assert list(default_task_backend.check()) == []


@pytest.mark.anyio
async def test_validate_on_enqueue(framework: Database) -> None:
    strange = framework_tasks.noop.using(queue_name="unknown_queue")
    told = "Queue 'unknown_queue' is not valid for backend"
    with settings(QUEUES=["queue-1"]), pytest.raises(InvalidTask, match=told):
        await strange.aenqueue()


def test_an_unserializable_argument_is_an_error(framework: Database) -> None:
    with pytest.raises(TypeError):
        framework_tasks.noop.enqueue(object())
    assert events(framework) == []


def test_it_is_sent_as_part_of_the_transaction(framework: Database, app: Any) -> None:
    heard: list[Any] = []

    def hear(sender: Any, task_result: Any, **_: Any) -> None:
        heard.append((sender, task_result.id))

    task_enqueued.connect(hear)
    try:
        with rolled_back():
            framework_tasks.noop.enqueue("rolled back")
        with transaction.atomic():
            result = framework_tasks.noop.enqueue("kept")
            assert events(framework) == []
        alone = framework_tasks.noop.enqueue("alone")
    finally:
        task_enqueued.disconnect(hear)
    assert [call.args for call in calls(framework)] == [("kept",), ("alone",)]
    assert heard[1:] == [(BridgeBackend, result.id), (BridgeBackend, alone.id)]
    assert arrived(app) == []


def test_run_after_becomes_the_eta(framework: Database) -> None:
    then = datetime(2100, 1, 2, 3, 4, 5, tzinfo=UTC)
    framework_tasks.noop.using(run_after=then).enqueue()
    with pytest.raises(InvalidTask, match="run_after must be an aware datetime"):
        framework_tasks.noop.using(run_after=then.replace(tzinfo=None))
    assert [call.message.protocol.eta for call in calls(framework)] == [then]


@pytest.mark.parametrize("broker", ["memory://", "redis://127.0.0.1:9/0"])
def test_priorities_keep_their_order(framework: Database, broker: str) -> None:
    """The lowest number is the most urgent one with Redis."""
    app = shop(broker)
    app.set_current()
    with settings():
        for priority in (-100, -50, 0, 50, 100):
            framework_tasks.noop.using(priority=priority).enqueue()
    found = [call.message.protocol.priority for call in calls(framework)]
    assert found == sorted(set(found), reverse=broker.startswith("redis"))
    assert {0, 9} <= {value or 0 for value in found}
    for wrong in (-101, 101, 1.5):
        with pytest.raises(InvalidTask, match="priority must be a whole number"):
            framework_tasks.noop.using(priority=wrong)  # type: ignore[arg-type]


def test_queues_are_celerys(framework: Database) -> None:
    with settings(OPTIONS={"queues": {"slow": "very-slow"}}):
        for queue in ("default", "mail", "slow"):
            framework_tasks.noop.using(queue_name=queue).enqueue()
    assert [call.message.protocol.queue for call in calls(framework)] == ["sending", "mail", "very-slow"]


def test_only_declared_tasks_can_be_started(framework: Database, app: Any) -> None:
    """Each is a task of Celery by its own name, so `migrate` allows these and nothing else."""
    framework_tasks.noop.enqueue()
    names = allowances.registered(app)
    assert PREFIX + "noop" in names
    assert not [name for name in names if name.startswith("django_app.")]


def test_results_need_a_backend_that_keeps_names(framework: Database, app: Any) -> None:
    assert not default_task_backend.supports_get_result
    with pytest.raises(NotImplementedError, match="CELERY_RESULT_EXTENDED"):
        default_task_backend.get_result("123")
    app.conf.update(result_backend="cache+memory://")
    kept = shop("memory://", backend="cache+memory://")
    kept.set_current()
    assert default_task_backend.supports_get_result
    with pytest.raises(TaskResultDoesNotExist):
        default_task_backend.get_result("123")
    result = framework_tasks.noop.enqueue()
    result.refresh()
    assert result.status == TaskResultStatus.READY


def test_a_worker_runs_it_and_its_result_can_be_read(framework: Database) -> None:
    """Runs the tasks as a worker does, in this process."""
    app = shop("memory://", backend="cache+memory://")
    app.conf.update(task_store_eager_result=True)
    app.set_current()
    heard: list[Any] = []

    def hear(signal: Any, sender: Any, task_result: Any, **_: Any) -> None:
        heard.append((signal is task_started, task_result.status))

    task_started.connect(hear)
    task_finished.connect(hear)
    outcomes = {}
    try:
        for task, args in (
            (framework_tasks.double, [21]),
            (framework_tasks.noop_async, []),
            (framework_tasks.fails, []),
            (framework_tasks.unserializable, []),
            (framework_tasks.leaves, []),
            (framework_tasks.attempt_of, ["x"]),
        ):
            result = task.enqueue(*args)
            sent = calls(framework)[-1]
            app.tasks[task.module_path].apply(sent.args, sent.kwargs, task_id=result.id, headers=sent.headers)
            result.refresh()
            outcomes[task.name] = result
    finally:
        task_started.disconnect(hear)
        task_finished.disconnect(hear)
    assert outcomes["double"].return_value == 42
    assert outcomes["noop_async"].return_value == "async"
    assert outcomes["attempt_of"].return_value == ["x", 1, outcomes["attempt_of"].id, True]
    failed = [outcomes[name] for name in ("fails", "unserializable", "leaves")]
    assert [result.status for result in failed] == [TaskResultStatus.FAILED] * 3
    assert [result.errors[0].exception_class for result in failed] == [ValueError, TypeError, RuntimeError]
    assert "as asked" in failed[0].errors[0].traceback
    assert all(result.finished_at and result.is_finished and result.worker_ids for result in outcomes.values())
    assert heard[:2] == [(True, TaskResultStatus.RUNNING), (False, TaskResultStatus.SUCCESSFUL)]
    again = framework_tasks.double.get_result(outcomes["double"].id)
    assert (again.return_value, again.args) == (42, [21])
    with pytest.raises(TaskResultMismatch):
        framework_tasks.noop.get_result(outcomes["double"].id)


@pytest.mark.soak
def test_with_a_real_worker(migrated: Database, sending: SendingWorker, run_bridge: Bridges) -> None:
    before: Any = app_or_default()
    sending.app.set_current()
    allow(migrated, NAMES)
    try:
        with settings():
            with transaction.atomic():
                result = framework_tasks.attempt_of.enqueue("worker")
                failed = framework_tasks.fails.using(priority=100).enqueue()
            bridge = sending.serve(run_bridge, migrated)
            for one in (result, failed):
                assert eventually(lambda one=one: one.refresh() or one.is_finished, 30)  # type: ignore[misc]
        assert result.return_value == ["worker", 1, result.id, True]
        assert failed.errors[0].exception_class is ValueError
        assert bridge.stop() == 0
    finally:
        before.set_current()
