"""The fate of an event, as bridge.fate says it, is what really happened to it."""

from contextlib import closing

import psycopg
import pytest

from bridge.call import Refusal
from bridge.stream.event_log import EventLog
from tests.fix_postgres import Database

pytestmark = pytest.mark.anyio

FATES = """
    select f.fate
    from bridge.event e cross join lateral bridge.fate(e.stream, e.watch, e.id, e.at, e.xid) f
    order by e.xid, e.id
"""


@pytest.fixture(autouse=True)
def item(conn: psycopg.Connection) -> None:
    conn.execute("create table item (id int primary key)")
    conn.execute("select bridge.watch('item', 'item', 'shop.touch')")


def fates(conn: psycopg.Connection) -> list[str]:
    return [fate for (fate,) in conn.execute(FATES)]


async def refuse(log: EventLog) -> None:
    batch = await log.read()
    await log.bury([Refusal(event, "because") for event in batch.events])
    await log.move(batch.position)


async def test_an_event_waits_until_the_position_passes_it(database: Database, conn: psycopg.Connection) -> None:
    with closing(psycopg.connect(database.dsn)) as open_writer:
        open_writer.execute("insert into item values (1)")
        conn.execute("insert into item values (2)")
        async with EventLog.open(database.dsn, "default", 100) as log:
            await log.own()
            assert fates(conn) == ["waits"]
            await log.move((await log.read()).position)
            assert fates(conn) == ["published"]
            open_writer.commit()  # its transaction is older than the delivered one
            assert fates(conn) == ["waits", "published"]
            await log.move((await log.read()).position)
            assert fates(conn) == ["published", "published"]


async def test_an_event_in_shadow_mode_is_skipped(database: Database, conn: psycopg.Connection) -> None:
    conn.execute("""select bridge.watch('item', 'item', 'shop.touch', options => '{"shadow": true}')""")
    conn.execute("insert into item values (1)")
    assert fates(conn) == ["waits"]
    async with EventLog.open(database.dsn, "default", 100) as log:
        await log.own()
        await log.move((await log.read()).position)
    assert fates(conn) == ["skipped"]


async def test_a_large_window_is_published_step_by_step(database: Database, conn: psycopg.Connection) -> None:
    conn.execute("insert into item select generate_series(1, 5)")
    async with EventLog.open(database.dsn, "default", 2) as log:
        await log.own()
        await log.move((await log.read()).position)
        assert fates(conn) == ["published"] * 2 + ["waits"] * 3
        conn.execute("insert into item values (6)")
        await log.move((await log.read()).position)
        assert fates(conn) == ["published"] * 4 + ["waits"] * 2


async def test_a_dead_letter_is_dead_then_retried_or_discarded(database: Database, conn: psycopg.Connection) -> None:
    conn.execute("insert into item values (1)")
    async with EventLog.open(database.dsn, "default", 100) as log:
        await log.own()
        await refuse(log)
        assert fates(conn) == ["dead"]
        conn.execute("select bridge.retry(since => '-infinity')")
        assert fates(conn) == ["retried", "waits"]
        await refuse(log)
        assert fates(conn) == ["retried", "dead"]
        conn.execute("select bridge.discard(since => '-infinity')")
        assert fates(conn) == ["retried", "discarded"]


def test_a_decision_says_why_when_and_in_which_context(conn: psycopg.Connection) -> None:
    conn.execute("insert into item values (1)")
    with conn.transaction():
        conn.execute("""select set_config('bridge.context', '{"user": "anna"}', true)""")
        conn.execute(
            "insert into bridge.dead_letter (id, stream, watch, op, at, reason) "
            "select id, stream, watch, op, at, 'because' from bridge.event"
        )
        conn.execute("select bridge.discard(since => '-infinity')")
    ((fate, reason, since, context),) = conn.execute(
        "select f.* from bridge.event e, bridge.fate(e.stream, e.watch, e.id, e.at, e.xid) f"
    ).fetchall()
    # The decision is in a later transaction than the event, so it counts.
    assert (fate, reason, context) == ("discarded", "because", '{"user": "anna"}')
    assert since is not None


def test_a_decision_that_is_rolled_back_is_none(conn: psycopg.Connection) -> None:
    conn.execute("insert into item values (1)")
    conn.execute(
        "insert into bridge.dead_letter (id, stream, watch, op, at, reason) "
        "select id, stream, watch, op, at, 'because' from bridge.event"
    )
    with conn.transaction(force_rollback=True):
        conn.execute("select bridge.discard(since => '-infinity')")
        assert fates(conn) == ["discarded"]
    assert fates(conn) == ["dead"]


def test_a_dead_letter_of_another_event_with_this_id_does_not_count(conn: psycopg.Connection) -> None:
    conn.execute("insert into item values (1)")
    conn.execute(
        "insert into bridge.dead_letter (id, stream, watch, op, at, reason) "
        "select id, stream, watch, op, at - interval '1 day', 'before a failover' from bridge.event"
    )
    conn.execute("select bridge.discard(since => '-infinity')")
    assert fates(conn) == ["waits"]


def test_an_event_of_a_stream_without_a_position_waits(conn: psycopg.Connection) -> None:
    row = conn.execute("select fate from bridge.fate('nothing', 'item', 1, now(), '5')").fetchone()
    assert row == ("waits",)


def test_old_decisions_go_when_the_log_is_recycled(conn: psycopg.Connection) -> None:
    conn.execute(
        "insert into bridge.decision (id, stream, watch, at, decision, reason, decided_at) "
        "select n, 'default', 'item', now(), 'discarded', '', now() - n * interval '1 hour' "
        "from unnest('{1,40}'::int[]) n"
    )
    conn.execute("update bridge.position set seen = pg_current_snapshot()")
    conn.execute("select bridge.recycle('1 hour')")
    assert conn.execute("select count(*) from bridge.decision").fetchone() == (2,), "nothing was recycled"
    conn.execute(
        "insert into bridge.event (stream, watch, op, key, slot) values ('default', 'item', 'insert', '[1]', "
        "(extract(epoch from now())::bigint / 14400 - 7) % 8)"
    )
    conn.execute("update bridge.position set seen = pg_current_snapshot()")
    assert conn.execute("select cardinality(bridge.recycle('1 hour'))").fetchone() == (1,)
    assert conn.execute("select id from bridge.decision").fetchall() == [(1,)]


def test_no_other_role_may_ask_or_decide(conn: psycopg.Connection, database: Database) -> None:
    role = f"{database.name}_stranger"
    conn.execute(f'create role "{role}"'.encode())
    try:
        conn.execute(f'grant usage on schema bridge to "{role}"'.encode())
        conn.execute(f'set role "{role}"'.encode())
        for statement in (
            b"select bridge.fate('default', 'item', 1, now(), '5')",
            b"select * from bridge.decision",
            b"insert into bridge.decision select * from bridge.decision",
        ):
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                conn.execute(statement)
    finally:
        conn.execute("reset role")
        conn.execute(f'drop owned by "{role}"'.encode())
        conn.execute(f'drop role "{role}"'.encode())
