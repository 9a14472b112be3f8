"""The server crashes after a task was published: its change must be there, even with synchronous_commit off."""

from collections.abc import Iterator
from contextlib import closing

import psycopg
import pytest
from psycopg.types.json import Jsonb

from tests.celery_queue import inbox
from tests.fix_bridge import Bridges
from tests.fix_broker import Broker
from tests.fix_postgres import TRIGGERS_SQL
from tools.servers import Postgres

# Commits that don't wait stay in memory for as long as PostgreSQL allows.
LAZY = {"wal_writer_delay": "10s", "wal_writer_flush_after": "1GB", "wal_buffers": "64MB", "checkpoint_timeout": "1h"}


@pytest.fixture(params=["server", "session"])
def lazy(request: pytest.FixtureRequest, valkey: Broker) -> Iterator[tuple[Postgres, str]]:
    """Yields a server, and the options of writers whose commits don't wait: all writers, or only these."""
    off = request.param == "server"
    with Postgres(settings={**LAZY, "synchronous_commit": "off" if off else "on"}) as server:
        with closing(psycopg.connect(server.dsn(), autocommit=True)) as conn:
            conn.execute("set synchronous_commit = on")
            conn.execute(TRIGGERS_SQL.read_bytes())
            conn.execute("create table product (id int primary key)")
            options = Jsonb({"queue": valkey.queue})
            conn.execute("select bridge.watch('p', 'product', 'shop.touch', options => %s)", [options])
        yield server, "" if off else "-c synchronous_commit=off"


@pytest.mark.parametrize("lazy", ["server"], indirect=True)
def test_who_does_not_want_to_wait_for_the_disk_says_so(
    lazy: tuple[Postgres, str], valkey: Broker, run_bridge: Bridges
) -> None:
    server, _ = lazy
    run_bridge(server.dsn(), "--publish-unflushed", broker_url=valkey.url)
    with inbox(valkey) as tasks, closing(psycopg.connect(server.dsn(), autocommit=True)) as conn:
        conn.execute("insert into product values (1)")
        tasks.take(1)
        flushed = "select pg_current_wal_flush_lsn() < pg_current_wal_insert_lsn()"
        assert conn.execute(flushed).fetchone() == (True,)


@pytest.mark.parametrize(("rows", "options"), [(1, ()), (5, ()), (50, ("--batch-size=7",))])
def test_no_task_is_published_whose_change_a_crash_can_take_away(
    lazy: tuple[Postgres, str], valkey: Broker, run_bridge: Bridges, rows: int, options: tuple[str, ...]
) -> None:
    server, lazily = lazy
    bridge = run_bridge(server.dsn(), *options, broker_url=valkey.url)
    with inbox(valkey) as tasks, closing(psycopg.connect(server.dsn(), autocommit=True, options=lazily)) as writer:
        for n in range(rows):
            writer.execute("insert into product values (%s)", [n])
        published = {task.args[0] for task in tasks.take(rows)}
        server.kill()
        server.start()
        with closing(psycopg.connect(server.dsn(), autocommit=True)) as conn:
            kept = {row[0] for row in conn.execute("select id from product")}
        assert published - kept == set()
        bridge.wait_for("running")
        assert bridge.stop() == 0
