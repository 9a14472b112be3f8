"""Tasks as part of the transaction: when they are sent, and when they are not."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any
from uuid import UUID

import pytest
from asgiref.sync import sync_to_async
from celery import chain, group
from celery.local import Proxy
from django.db import connection, connections, transaction
from django.test import override_settings

from django_app.celery import (
    adelay_in_transaction,
    apply_async_in_transaction,
    delay_in_transaction,
)
from django_app.errors import SendError
from tests.django.sending_app import NAMES, shop
from tests.django.sent import arrived, calls, events, rolled_back
from tests.fix_postgres import Database


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


@pytest.mark.parametrize("kind", ["celery:Task", "django_app.celery:TransactionalTask"])
def test_the_functions_work_for_shared_tasks(log: Database, kind: str) -> None:
    """`@shared_task` returns a proxy of the task, which is another object than the task that is called."""
    app = shop("memory://", task_cls=kind)
    shared: Any = Proxy(lambda: app.tasks["sending.add"])
    ids = [delay_in_transaction(shared, 1).id]
    with transaction.atomic():
        ids.append(delay_in_transaction(shared, 2).id)
        ids.append(apply_async_in_transaction(shared, (3,)).id)
    assert [call.task_id for call in calls(log)] == ids
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
