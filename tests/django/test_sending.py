"""Tasks as part of the transaction: when they are sent, when they are not, and what a role may send."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any
from uuid import UUID

import pytest
from asgiref.sync import sync_to_async
from celery import _state, chain, chord, group, signals
from celery.beat import ScheduleEntry, Scheduler
from celery.exceptions import Ignore, Retry
from celery.schedules import schedule
from django.core.management import call_command
from django.db import DatabaseError, connection, connections, transaction
from django.test import override_settings

from django_app import allowances
from django_app.celery import (
    adelay_in_transaction,
    apply_async_in_transaction,
    delay_in_transaction,
)
from django_app.errors import SendError
from tests.django.sending_app import NAMES, shop
from tests.django.sent import allow, arrived, calls, events, refusals, rolled_back
from tests.fix_postgres import Database, on_pg18

TASK_STACK: Any = vars(_state)["_task_stack"]


@pytest.fixture
def app() -> Iterator[Any]:
    """Yields an app whose broker is in the memory of this process."""
    app = shop("memory://")
    yield app
    arrived(app)


@pytest.fixture
def offline() -> Any:
    """Returns an app whose broker and result backend are away."""
    return shop(backend="redis://127.0.0.1:9/0")


@pytest.fixture
def without_broker() -> Any:
    """Returns an app whose broker is away."""
    return shop()


@contextmanager
def second_database(monkeypatch: pytest.MonkeyPatch, settings_name: str = "other") -> Iterator[str]:
    """Adds an alias to DATABASES, for another connection to the same database."""
    monkeypatch.setitem(connections.settings, settings_name, connections.settings["default"])
    other = connections[settings_name]
    for name in ("NAME", "USER", "HOST", "PORT", "PASSWORD", "OPTIONS"):
        monkeypatch.setitem(other.settings_dict, name, connection.settings_dict[name])
    try:
        yield settings_name
    finally:
        other.close()
        del connections[settings_name]


def test_a_call_in_a_transaction_is_an_event_with_the_announced_id(log: Database, app: Any) -> None:
    add = app.tasks["sending.add"]
    with transaction.atomic():
        results = [add.delay(n) for n in range(3)]
        assert events(log) == [], "nothing may be visible before the commit"
    assert [call.task_id for call in calls(log)] == [result.id for result in results]
    assert [call.args for call in calls(log)] == [(0,), (1,), (2,)]
    assert all(UUID(result.id).version == 4 for result in results)
    assert arrived(app) == []


def test_a_call_that_is_rolled_back_was_never_made(log: Database, app: Any) -> None:
    add = app.tasks["sending.add"]
    with rolled_back():
        add.delay(0)
    with transaction.atomic():
        add.delay(1)
        with rolled_back():
            add.delay(2)
            group(add.s(3), add.s(4))()
        with transaction.atomic():
            add.delay(5)
    assert [call.args for call in calls(log)] == [(1,), (5,)]
    assert arrived(app) == []


def test_a_call_outside_a_transaction_is_celerys_own(log: Database, app: Any) -> None:
    result = app.tasks["sending.add"].delay(1)
    assert [message["headers"]["id"] for message in arrived(app)] == [result.id]
    assert events(log) == []


def test_a_call_under_manual_transactions_is_part_of_them(log: Database, app: Any) -> None:
    transaction.set_autocommit(False)
    try:
        app.tasks["sending.add"].delay(1)
        transaction.rollback()
        app.tasks["sending.add"].delay(2)
        transaction.commit()
    finally:
        transaction.set_autocommit(True)
    assert [call.args for call in calls(log)] == [(2,)]


@pytest.mark.parametrize(
    "kind", ["celery:Task", "celery.contrib.django.task:DjangoTask", "django_app.celery:TransactionalTask"]
)
def test_the_functions_work_for_tasks_of_every_class(log: Database, kind: str) -> None:
    app = shop("memory://", task_cls=kind)
    add = app.tasks["sending.add"]
    outside = delay_in_transaction(add, 1)
    with transaction.atomic():
        inside = apply_async_in_transaction(add, (2,), countdown=60)
        with rolled_back():
            delay_in_transaction(add, 3)
    assert [call.task_id for call in calls(log)] == [outside.id, inside.id]
    assert arrived(app) == []


def test_the_methods_are_the_same(log: Database, app: Any) -> None:
    add = app.tasks["sending.add"]
    ids = [add.delay_in_transaction(1).id, add.apply_async_in_transaction((2,), priority=3).id]
    with transaction.atomic():
        ids += [add.delay_in_transaction(3).id, add.delay_on_commit(4).id, add.apply_async_on_commit((5,)).id]
    assert [call.task_id for call in calls(log)] == ids
    assert [call.args for call in calls(log)] == [(1,), (2,), (3,), (4,), (5,)]
    add.delay_on_commit(6)
    assert len(arrived(app)) == 1, "outside a transaction it is Celery's delay"


def test_nothing_is_needed_but_the_database(log: Database, offline: Any, without_broker: Any) -> None:
    """Each of these calls raises an error with Celery's own way. Groups need the result backend, if there is one."""
    add, total = offline.tasks["sending.add"], offline.tasks["sending.total"]
    with transaction.atomic():
        add.delay(1)
        add.apply_async((2,), countdown=10, expires=60, link=total.s())
        chain(add.s(1), add.s(2))()
        add = without_broker.tasks["sending.add"]
        chain(add.s(1), add.s(2), group(add.s(3), add.s(4)))()
        group(add.s(1), add.s(2))()
    assert len(calls(log)) == 6


def test_the_context_of_the_caller_is_in_the_header(log: Database, app: Any) -> None:
    with transaction.atomic():
        with connection.cursor() as cursor:
            cursor.execute("""set local bridge.context = '{"user": 7}'""")
        app.tasks["sending.add"].delay(1)
    assert calls(log)[0].headers["bridge"]["context"] == {"user": 7}


def test_threads_do_not_mix_their_calls(log: Database, app: Any) -> None:
    add = app.tasks["sending.add"]

    def send(thread: int) -> list[str]:
        try:
            found = []
            for number in range(20):
                with transaction.atomic():
                    found.append(add.apply_async((thread, number), headers={"thread": thread}).id)
            return found
        finally:
            connection.close()

    with ThreadPoolExecutor(4) as pool:
        announced = list(pool.map(send, range(4)))
    made = {call.task_id: call for call in calls(log)}
    for thread, ids in enumerate(announced):
        assert [made[one].args for one in ids] == [(thread, number) for number in range(20)]
        assert {made[one].headers["thread"] for one in ids} == {thread}


def test_of_several_databases_the_first_with_a_transaction_gets_the_task(
    log: Database, app: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    add = app.tasks["sending.add"]
    with second_database(monkeypatch) as other, override_settings(BRIDGE_DATABASE=["default", other]):
        written: list[str] = []

        def note(execute: Any, sql: Any, params: Any, many: bool, context: Any) -> Any:
            if "bridge.send_task" in sql:
                written.append(context["connection"].alias)
            return execute(sql, params, many, context)

        with connection.execute_wrapper(note), connections[other].execute_wrapper(note):
            with transaction.atomic(using=other):
                add.delay(1)
                with transaction.atomic():
                    add.delay(2)
            add.delay_in_transaction(3)
    assert written == [other, "default", "default"]
    assert [call.args for call in calls(log)] == [(1,), (2,), (3,)]


def test_only_a_transaction_of_the_bridges_database_counts(
    log: Database, app: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    add = app.tasks["sending.add"]
    with second_database(monkeypatch) as other:
        with transaction.atomic(using=other):
            add.delay(1)
        assert len(arrived(app)) == 1, "the transaction of another database does not cover the event"
        with transaction.atomic(using=other), transaction.atomic():
            add.delay(2)
        with rolled_back(), transaction.atomic(using=other):
            add.delay(3)
    assert [call.args for call in calls(log)] == [(2,)]


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


@pytest.mark.anyio
async def test_async_code_sends_with_a_commit_of_its_own(log: Database, app: Any) -> None:
    add = app.tasks["sending.add"]
    try:
        results = [await add.adelay_in_transaction(1), await adelay_in_transaction(add, 2)]
        results.append(await add.aapply_async_in_transaction((3,), countdown=60))
        own = add.delay(4)
    finally:
        await sync_to_async(connections.close_all)()  # in the thread that the calls used
    assert [call.task_id for call in calls(log)] == [result.id for result in results]
    assert [message["headers"]["id"] for message in arrived(app)] == [own.id]


def test_signatures_can_be_sent_without_a_transaction(log: Database, app: Any) -> None:
    add, total = app.tasks["sending.add"], app.tasks["sending.total"]
    apply_async_in_transaction(add.s(1), countdown=60)
    apply_async_in_transaction(chain(add.s(1), add.s(2)))
    with pytest.raises(SendError, match="may not be sent"):
        apply_async_in_transaction(group(add.s(1), add.s(2), app.tasks["sending.forbidden"].s()))
    assert [call.target.task for call in calls(log)] == ["sending.add"] * 2, "a signature is sent as a whole or not"
    plain = shop("memory://", task_cls="celery:Task")
    with pytest.raises(SendError, match=r"would publish the task 'sending\.add' of this signature at once"):
        apply_async_in_transaction(group(plain.tasks["sending.add"].s(1), app=plain))
    assert arrived(app) == []
    assert total.name in NAMES


def test_a_chord_without_native_joins_unlocks_as_part_of_the_transaction(log: Database, tmp_path: Any) -> None:
    app = shop("memory://", backend=f"file://{tmp_path}")
    add, total = app.tasks["sending.add"], app.tasks["sending.total"]
    with rolled_back():
        chord([add.s(1)], total.s())()
    with transaction.atomic():
        chord([add.s(1), add.s(2)], total.s())()
    assert [call.target.task for call in calls(log)] == ["celery.chord_unlock", "sending.add", "sending.add"]
    assert arrived(app) == []


def test_a_task_that_is_not_allowed_is_a_clear_error(log: Database, app: Any) -> None:
    add, forbidden = app.tasks["sending.add"], app.tasks["sending.forbidden"]
    attempts = [forbidden.s(1), add.s(1).set(link=[forbidden.s()]), chain(add.s(1), forbidden.s()), forbidden.map([1])]
    for attempt in attempts:
        told = r'"sending.forbidden" may not be sent.*Run manage.py migrate'
        with pytest.raises(SendError, match=told) as caught, transaction.atomic():
            attempt.apply_async()
        assert "\n" not in str(caught.value)
    assert events(log) == []


def test_a_forged_event_becomes_a_dead_letter(log: Database) -> None:
    """A role that may call the function can write any message. The bridge decides."""
    forged = """{"id": "a", "embed": "{\\"chain\\": [{\\"task\\": \\"sending.forbidden\\"}]}"}"""
    with connection.cursor() as cursor:
        cursor.execute("select bridge.send_task('sending.add', '[]', '{}', %s)", [forged])
        cursor.execute(
            "select bridge.send_task('celery.map', '[]', %s, '{\"id\": \"b\"}')", ['{"task": "sending.forbidden"}']
        )
    assert len(refusals(log)) == 2


def test_a_role_without_the_right_to_send_is_told_so(log: Database, app: Any) -> None:
    role = f"{log.name}_nobody"
    with log.connect() as owner:
        owner.execute(f"create role {role}".encode())
        try:
            for right in (None, "usage on schema bridge"):
                if right is not None:
                    owner.execute(f"grant {right} to {role}".encode())
                with rolled_back():
                    with connection.cursor() as cursor:
                        cursor.execute(f"set local role {role}")
                    with pytest.raises(SendError, match=r"permission denied.*roles\.sql"):
                        app.tasks["sending.add"].delay(1)
        finally:
            owner.execute(f"drop owned by {role}".encode())
            owner.execute(f"drop role {role}".encode())


@on_pg18
def test_a_database_without_the_schema_is_a_clear_error(shop_database: Database, app: Any) -> None:
    with pytest.raises(SendError, match=r"Run: manage\.py migrate bridge"), transaction.atomic():
        app.tasks["sending.add"].delay(1)


def test_other_errors_of_the_database_are_djangos(log: Database, app: Any) -> None:
    with rolled_back():
        with connection.cursor() as cursor, pytest.raises(DatabaseError):
            cursor.execute("select 1 / 0")
        with pytest.raises(DatabaseError, match="transaction is aborted"):
            app.tasks["sending.add"].delay(1)


def sendable(database: Database) -> dict[str, str | None]:
    """Returns the source of each allowance, without the tasks that other tests share with every app of this process."""
    with database.connect() as other:
        rows = other.execute("select task, source from bridge.sendable").fetchall()
    return {task: source for task, source in rows if not task.startswith("tests.")}


@on_pg18
def test_migrate_allows_exactly_the_tasks_of_the_project(
    migrated: Database, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    shops = {"catalog.tasks.reprice": "django", "catalog.tasks.reprice_legacy": "django"}
    assert sendable(migrated) == shops
    allow(migrated, ["by.hand"])
    project = shop()
    monkeypatch.setattr(allowances, "load_app", lambda: project)
    call_command("migrate", verbosity=0)
    # The tasks of the catalog are shared, so every app of this process has them.
    every = dict.fromkeys([*NAMES, "sending.forbidden"], "django")
    assert sendable(migrated) == {**shops, **every, "by.hand": None}
    del project.tasks["sending.forbidden"]
    call_command("migrate", verbosity=1)
    assert "  disallow sending sending.forbidden\n" in capsys.readouterr().out
    assert "sending.forbidden" not in sendable(migrated)
    assert sendable(migrated)["by.hand"] is None


@on_pg18
def test_without_an_app_or_with_a_broken_one_the_allowances_stay(
    migrated: Database, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    before = sendable(migrated)
    monkeypatch.setattr(allowances, "load_app", lambda: None)
    monkeypatch.setattr(allowances, "why_no_app", lambda: "shop.celery: NameError")
    call_command("migrate", verbosity=1)
    assert "The tasks that may be sent stay as they are: shop.celery: NameError\n" in capsys.readouterr().out
    monkeypatch.setattr(allowances, "celery_app", lambda: None)
    call_command("migrate", verbosity=1)
    assert "may be sent" not in capsys.readouterr().out
    assert sendable(migrated) == before
