"""Behind a pooler in transaction mode the bridge polls, in sessions that no other client gets."""

import signal
from contextlib import closing
from pathlib import Path

import psycopg
import pytest
from click.testing import CliRunner

from bridge.cli.main import cli
from bridge.database.connect import connect
from bridge.errors import LockTimeoutError
from bridge.operations import streams, watches
from tests.celery_queue import inbox
from tests.end_to_end.product import make_products, reprice, undelivered, watch
from tests.eventually import eventually
from tests.fix_bridge import Bridges
from tests.fix_broker import Broker
from tests.fix_pooler import Pooler
from tests.fix_postgres import Database, on_pg18

pytestmark = on_pg18

LOCKS = """
    select count(*) from pg_locks
    where locktype = 'advisory' and database = (select oid from pg_database where datname = current_database())
"""
HORIZONS = """
    select count(*) from pg_stat_activity
    where datname = current_database() and state like 'idle in transaction%' and backend_xmin is not null
"""
OURS = "select count(*) from pg_stat_activity where datname = current_database() and state like 'idle in transaction%'"


@pytest.fixture
def watched(conn: psycopg.Connection, valkey: Broker) -> Broker:
    make_products(conn, 300)
    watch(conn, "reprice", valkey.queue)
    return valkey


def all_delivered(conn: psycopg.Connection) -> None:
    assert eventually(lambda: undelivered(conn) == 0, 30)


def none(conn: psycopg.Connection, count: str) -> bool:
    return conn.execute(count.encode()).fetchone() == (0,)


def test_it_polls_and_says_so(conn: psycopg.Connection, pooler: Pooler, watched: Broker, run_bridge: Bridges) -> None:
    bridge = run_bridge(pooler.dsn, "--batch-size=100", broker_url=watched.url)
    conn.execute("update product set price = price + 1")  # a window of several batches
    all_delivered(conn)
    for key in range(1, 31):
        reprice(conn, key)
    all_delivered(conn)
    with inbox(watched) as queue:
        assert [task.args for task in queue.take_all()] == [[key] for key in (*range(1, 301), *range(1, 31))]
    assert conn.execute("select bool_or(asleep) from bridge.status()").fetchone() == (False,)
    [warning] = [line for line in bridge.lines() if "pooler in transaction mode" in line["message"]]
    assert (warning["level"], warning["seconds"]) == ("WARNING", 0.5)
    # A session has a horizon while it answers, and for a moment after that.
    assert eventually(lambda: none(conn, HORIZONS)), "a session that polls must not hold back VACUUM"
    assert bridge.stop() == 0


def test_nothing_of_it_stays_with_sessions_that_others_use(
    conn: psycopg.Connection, pooler: Pooler, watched: Broker, run_bridge: Bridges
) -> None:
    bridge = run_bridge(pooler.dsn, broker_url=watched.url)
    with closing(psycopg.connect(pooler.dsn, autocommit=True)) as application:
        setting = "select current_setting('enable_seqscan'), current_setting('statement_timeout')"
        before = application.execute(setting).fetchone()
        assert CliRunner().invoke(cli, ["status", "--database-url", pooler.dsn]).exit_code == 0
        assert bridge.stop() == 0
        assert application.execute(setting).fetchone() == before == ("on", "0")
    assert eventually(lambda: none(conn, LOCKS) and none(conn, OURS), 10)


def test_two_at_once_deliver_each_event_once_and_one_takes_over(
    conn: psycopg.Connection, pooler: Pooler, watched: Broker, run_bridge: Bridges
) -> None:
    owner = run_bridge(pooler.dsn, broker_url=watched.url)
    standby = run_bridge(pooler.dsn, broker_url=watched.url, state="standby")
    with inbox(watched) as queue:
        for key in range(1, 101):
            reprice(conn, key)
        assert [task.args for task in queue.take(100)] == [[key] for key in range(1, 101)]
        all_delivered(conn)
        owner.kill()
        reprice(conn, 101)
        assert [task.args for task in queue.take(1)] == [[101]]
        standby.wait_for("running")
        owner.start("standby")
        assert queue.take_all() == []
    assert owner.stop() == 0
    assert standby.stop() == 0


def test_one_that_is_frozen_is_deposed(
    conn: psycopg.Connection, pooler: Pooler, watched: Broker, run_bridge: Bridges
) -> None:
    owner = run_bridge(pooler.dsn, "--takeover-after=1s", broker_url=watched.url)
    run_bridge(pooler.dsn, "--takeover-after=1s", broker_url=watched.url, state="standby")
    with inbox(watched) as queue:
        reprice(conn, 1)
        assert [task.args for task in queue.take(1)] == [[1]]
        all_delivered(conn)
        owner.child.freeze()
        reprice(conn, 2)
        assert [task.args for task in queue.take(1)] == [[2]]
        owner.child.send(signal.SIGCONT)
        owner.wait_for("standby")


def test_a_session_that_the_server_ends_is_replaced(
    conn: psycopg.Connection, pooler: Pooler, watched: Broker, run_bridge: Bridges
) -> None:
    run_bridge(pooler.dsn, broker_url=watched.url)
    ended = OURS.replace("count(*)", "count(pg_terminate_backend(pid, 5000))")
    assert conn.execute(ended.encode()).fetchone() != (0,)
    with inbox(watched) as queue:
        reprice(conn, 1)
        assert [task.args for task in queue.take(1)] == [[1]]


@pytest.mark.anyio
async def test_an_error_leaves_the_session_usable(conn: psycopg.Connection, pooler: Pooler, watched: Broker) -> None:
    async with connect(pooler.dsn, "catalog") as connection:
        with conn.transaction():
            conn.execute("lock table product")
            with pytest.raises(LockTimeoutError):
                await watches.apply(connection, [], prune=True, lock_timeout=0.05)
        assert [status.stream for status in await streams.status(connection)] == ["default"]


def test_commands_work_behind_it(conn: psycopg.Connection, pooler: Pooler, tmp_path: Path) -> None:
    make_products(conn)
    config = tmp_path / "bridge.toml"
    config.write_text('[[watch]]\nname = "reprice"\ntable = "product"\ntask = "shop.tasks.reprice"\n')
    for command in (["install"], ["apply", str(config)], ["dead-letters", "list"]):
        result = CliRunner().invoke(cli, [*command, "--database-url", pooler.dsn])
        assert result.exit_code == 0, result.output
    assert conn.execute("select name from bridge.watch").fetchall() == [("reprice",)]


def test_a_direct_connection_is_never_taken_for_a_pooled_one(
    database: Database, valkey: Broker, run_bridge: Bridges
) -> None:
    bridge = run_bridge(database.dsn, broker_url=valkey.url)
    assert not any("pooler" in line["message"] for line in bridge.lines())
    assert bridge.stop() == 0
