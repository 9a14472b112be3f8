"""`bridge status` shows what waits, which process serves it, and what needs a person."""

import json
import re
from pathlib import Path

import psycopg
from psycopg.types.json import Jsonb

from bridge.database.schema import version
from tests.celery_queue import inbox
from tests.cli.command import SECRET, Command
from tests.eventually import eventually
from tests.fix_bridge import Bridges
from tests.fix_broker import Broker
from tests.fix_postgres import Database, on_pg18
from tools.servers.port import free_port


@on_pg18
def test_status_of_a_new_database_is_fine(bridge: Command, database: Database) -> None:
    done = bridge("status", "--database-url", database.dsn)
    assert done.code == 0
    assert "default" in done.out


@on_pg18
def test_status_finds_problems(
    bridge: Command, file: Path, database: Database, conn: psycopg.Connection, product: None
) -> None:
    bridge("apply", file, "--database-url", database.dsn)
    conn.execute("insert into product values (1, 1), (2, 2)")
    conn.execute("alter table product disable trigger bridge_insert_reprice")
    done = bridge("status", "--database-url", database.dsn)
    assert done.code == 1
    assert 'stream "default": nobody serves it' in done.out
    assert 'watch "reprice" does not fit its table any more' in done.out
    done = bridge("status", "--json", "--database-url", database.dsn)
    assert done.code == 1
    state = json.loads(done.out)
    assert state["version"] == version()
    assert state["drift"] == ["reprice"]
    assert len(state["problems"]) == 2
    [stream] = state["streams"]
    assert (stream["stream"], stream["watches"], stream["waiting"]) == ("default", 1, 2)
    assert stream["owner_pid"] is None


@on_pg18
def test_status_tells_of_events_whose_watch_was_removed_and_they_are_delivered(
    bridge: Command, conn: psycopg.Connection, product: None, valkey: Broker, run_bridge: Bridges
) -> None:
    options = Jsonb({"queue": valkey.queue})
    conn.execute("select bridge.watch('reprice', 'product', 'shop.tasks.reprice', options => %s)", [options])
    conn.execute("insert into product values (1, 1), (2, 2)")
    conn.execute("select bridge.unwatch('reprice')")
    conn.execute("insert into product values (3, 3)")
    assert "2 (2 of removed watches)" in bridge("status", "--database-url", conn.info.dsn).out
    [stream] = json.loads(bridge("status", "--json", "--database-url", conn.info.dsn).out)["streams"]
    assert (stream["watches"], stream["waiting"], stream["of_removed"]) == (0, 2, 2)
    run_bridge(conn.info.dsn, broker_url=valkey.url)
    with inbox(valkey) as queue:
        assert [task.args for task in queue.take(2)] == [[1], [2]]
        assert eventually(lambda: bridge("status", "--database-url", conn.info.dsn).code == 0)
        assert "removed" not in bridge("status", "--database-url", conn.info.dsn).out
        assert queue.waiting() == 0


@on_pg18
def test_status_says_why_the_broker_takes_nothing(
    bridge: Command, conn: psycopg.Connection, run_bridge: Bridges
) -> None:
    broker = f"redis://:{SECRET}@127.0.0.1:{free_port()}/0"
    run_bridge(conn.info.dsn, broker_url=broker, state="broker away")
    arguments = ("status", "--database-url", conn.info.dsn)
    assert eventually(lambda: "has refused messages" in bridge(*arguments).out)
    done = bridge(*arguments)
    assert done.code == 1
    assert re.search(
        r'^! stream "default": the broker has refused messages since [-\d]+ [:\d]+: .*refused', done.out, re.MULTILINE
    )
    assert SECRET not in done.out
    [stream] = json.loads(bridge(*arguments, "--json").out)["streams"]
    assert stream["broker_error"] in done.out
