"""bridge.send: a task as part of the transaction, if the owner allows that task."""

import psycopg
import pytest

from tests.capture.log import recorded
from tests.fix_postgres import Database


def test_send_is_refused_until_the_task_is_allowed(conn: psycopg.Connection) -> None:
    with pytest.raises(psycopg.errors.InsufficientPrivilege, match="may not be sent"):
        conn.execute("select bridge.send('shop.mail')")
    conn.execute("select bridge.allow('shop.mail'), bridge.allow('shop.mail')")
    conn.execute("select bridge.send('shop.mail')")
    assert conn.execute("select bridge.disallow('shop.mail')").fetchone() == (True,)
    assert conn.execute("select bridge.disallow('shop.mail')").fetchone() == (False,)
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        conn.execute("select bridge.send('shop.mail')")
    assert recorded(conn) == [("send", None)]


def test_what_is_sent_is_an_event_of_the_transaction(conn: psycopg.Connection) -> None:
    conn.execute("select bridge.allow('shop.mail')")
    with conn.transaction():
        conn.execute("set local bridge.context = 'request 7'")
        sent = conn.execute(
            """select bridge.send('shop.mail', '[1]', '{"a": null}', '{"queue": "slow"}')""",
        ).fetchone()
    rows = conn.execute("select id, watch, op, key, data, context from bridge.waiting").fetchall()
    data = {"task": "shop.mail", "args": [1], "kwargs": {"a": None}, "options": {"queue": "slow"}}
    assert sent
    assert rows == [(sent[0], "", "send", None, data, "request 7")]


def test_what_is_sent_and_rolled_back_was_never_sent(conn: psycopg.Connection) -> None:
    conn.execute("select bridge.allow('shop.mail')")
    with conn.transaction(force_rollback=True):
        conn.execute("select bridge.send('shop.mail')")
    assert recorded(conn) == []


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        ("'{}'", "args must be a JSON array"),
        ("null", "args must be a JSON array"),
        ("'[]', '[]'", "kwargs a JSON object"),
        ("'[]', '{}', '{\"qeue\": 1}'", 'unknown option "qeue"'),
        ("'[]', '{}', '{\"shadow\": true}'", 'the option "shadow" is for watches; .* queue, priority, countdown'),
        ('\'[]\', \'{}\', \'{"queue": "q", "call": "event"}\'', 'the option "call" is for watches'),
        ("'[]', '{}', '{}', 'nowhere'", 'there is no stream "nowhere"'),
    ],
)
def test_wrong_arguments_of_send_are_one_clear_error(conn: psycopg.Connection, arguments: str, complaint: str) -> None:
    conn.execute("select bridge.allow('shop.mail')")
    with pytest.raises(psycopg.Error, match=complaint):
        conn.execute(f"select bridge.send('shop.mail', {arguments})".encode())


def test_send_wakes_who_sleeps(database: Database, conn: psycopg.Connection) -> None:
    conn.execute("select bridge.allow('shop.mail')")
    conn.execute('listen "bridge:default"')
    with database.connect() as sleeper:
        sleeper.execute("select pg_advisory_lock(sleep_key) from bridge.stream")
        conn.execute("select bridge.send('shop.mail')")
        assert [notify.payload for notify in conn.notifies(timeout=5, stop_after=1)] == [""]


def test_a_session_that_reads_backslashes_in_its_own_way_gets_the_same_answers(conn: psycopg.Connection) -> None:
    """The texts in a function's body are read when the session first runs it."""
    conn.execute("create table item (id int primary key)")
    conn.execute("set standard_conforming_strings = off")
    conn.execute("select bridge.watch('w', 'item', 'ss.mail')")
    conn.execute("select bridge.allow('ss.mail')")
    conn.execute("""select bridge.send('ss.mail', options => '{"priority": 5}')""")
    with pytest.raises(psycopg.errors.InsufficientPrivilege, match="may not be sent"):
        conn.execute("""select bridge.send_task('celeryXmap', '[]', '{}', '{"id": "a"}')""")
    assert recorded(conn) == [("send", None)]
