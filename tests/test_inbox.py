"""The inbox: a task that is delivered twice takes effect once."""

import threading
from contextlib import closing
from uuid import uuid4

import psycopg
import pytest
from celery import Celery

from bridge.inbox import in_transaction_once, once
from tests.eventually import eventually
from tests.fix_postgres import Database


@pytest.fixture(autouse=True)
def effect(conn: psycopg.Connection) -> None:
    conn.execute("create table effect (amount int)")


def effects(conn: psycopg.Connection) -> list[int]:
    return [row[0] for row in conn.execute("select amount from effect")]


def test_the_second_time_is_known(conn: psycopg.Connection) -> None:
    task_id = uuid4()
    for expected in (True, False, False):
        with once(conn, str(task_id)) as first:
            assert first is expected


def test_what_failed_is_not_done(conn: psycopg.Connection) -> None:
    task_id = uuid4()
    with pytest.raises(psycopg.errors.DivisionByZero), once(conn, task_id):
        conn.execute("insert into effect values (1), (1 / 0)")
    assert effects(conn) == []
    with once(conn, task_id) as first:
        assert first


@pytest.mark.parametrize("fails", [False, True])
def test_two_at_once_take_turns(database: Database, conn: psycopg.Connection, fails: bool) -> None:
    """The second task waits for the end of the first one, and does the work only if the first one failed."""
    task_id = uuid4()
    seen: list[bool] = []
    with database.connect() as second, second.transaction():
        [(pid,)] = second.execute("select pg_backend_pid()").fetchall()

        def work() -> None:
            with once(second, task_id) as first:
                seen.append(first)

        thread = threading.Thread(target=work)
        with conn.transaction(force_rollback=fails):
            with once(conn, task_id) as first:
                assert first
            thread.start()
            with closing(database.connect()) as watcher:
                waits = "select wait_event_type = 'Lock' from pg_stat_activity where pid = %s"
                assert eventually(lambda: watcher.execute(waits, [pid]).fetchone() == (True,), 10)
        thread.join(10)
        assert seen == [fails]


def test_a_task_of_celery_runs_its_body_once(database: Database, conn: psycopg.Connection) -> None:
    app = Celery("shop", set_as_current=False)

    @app.task(bind=True)
    @in_transaction_once(database.connect)
    def pay(self: object, connection: psycopg.Connection, amount: int) -> str:
        connection.execute("insert into effect values (%s)", [amount])
        return "paid"

    task_id = str(uuid4())
    assert [pay.apply((7,), task_id=task_id).get() for _ in range(3)] == ["paid", None, None]
    assert pay.apply((8,), task_id=str(uuid4())).get() == "paid"
    assert effects(conn) == [7, 8]


def test_old_entries_are_forgotten_in_portions(conn: psycopg.Connection) -> None:
    conn.execute(
        "insert into bridge.inbox select gen_random_uuid(), now() - interval '8 days' from generate_series(1, 5)"
    )
    with once(conn, uuid4()):
        pass
    portions = [conn.execute("select bridge.forget('7 days', 3)").fetchone() for _ in range(3)]
    assert portions == [(3,), (2,), (0,)]
    assert conn.execute("select count(*) from bridge.inbox").fetchone() == (1,)
