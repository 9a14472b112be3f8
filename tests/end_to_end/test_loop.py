"""Tasks that write what their watches watch: a real bridge and a real worker, with Django and the app in it."""

import json
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg.types.json import Jsonb

from tests.eventually import eventually
from tests.fix_bridge import ROOT, Bridge, Bridges, environment
from tests.fix_postgres import PgServer
from tools.servers import Child, PrivateDirectory, Valkey

CELERY = Path(sys.executable).with_name("celery")
QUEUE = "loop"


@dataclass
class Stage:
    """A database, a bridge and a worker with four threads. Each test has its own watch and its own rows."""

    conn: psycopg.Connection
    bridge: Bridge
    rows: int = 0

    def watch(self, name: str, task: str, **options: Any) -> int:
        """Makes a watch, and three rows that only this watch sees. Returns the first key."""
        first, self.rows = self.rows + 1, self.rows + 10
        self.conn.execute(
            "select bridge.watch(%s, 'catalog_product', %s, operations => '{update}', condition => %s, options => %s)",
            [name, task, f"new.id % 1000000 between {first} and {first + 9}", Jsonb({"queue": QUEUE, **options})],
        )
        self.conn.execute(
            "insert into catalog_product select n, 'product', 1 from generate_series(%s::bigint, %s::bigint) n",
            [first, first + 2],
        )
        return first

    def change(self, *keys: int) -> None:
        self.conn.execute("update catalog_product set price = price + 1 where id = any (%s)", [list(keys)])

    def all(self, query: str, *values: Any) -> list[tuple[Any, ...]]:
        return self.conn.execute(query.encode(), values).fetchall()

    def runs(self, task: str, *keys: int) -> int:
        return len(self.all("select from run where task = %s and key = any (%s)", task, list(keys)))

    def contexts(self, watch: str) -> list[Any]:
        rows = self.all("select context from bridge.event where watch = %s order by id", watch)
        return [None if text is None else json.loads(text) for (text,) in rows]


@pytest.fixture(scope="module")
def stage(pg18: PgServer) -> Iterator[Stage]:
    database = pg18.create(pg18.template())
    bridges = Bridges()
    with Valkey() as broker, PrivateDirectory() as directory, database.connect() as conn:
        conn.execute("create table catalog_product (id bigint primary key, name text, price numeric(10, 2))")
        conn.execute("create table run (task text, key bigint, task_id text)")
        env = environment(
            SHOP_DATABASE_URL=database.dsn,
            SHOP_BROKER_URL=broker.url(),
            SHOP_QUEUE=QUEUE,
            PYTHONPATH=str(ROOT / "examples" / "shop"),
            C_FORCE_ROOT="1",
        )
        log = directory.path / "log"
        argv: list[str | Path] = [CELERY, "-A", "tests.loop_app", "worker", "--pool=threads", "--concurrency=4"]
        argv += ["--loglevel=info", "--hostname=loop@localhost", f"--queues={QUEUE}"]
        argv += ["--without-gossip", "--without-mingle", "--without-heartbeat"]
        worker = Child(argv, directory, log=log, env=env, cwd=ROOT)
        try:
            bridge = bridges(database.dsn, broker_url=broker.url())
            worker.wait_until(lambda: "ready." in log.read_text(), 60)
            yield Stage(conn, bridge)
            assert "Traceback" not in log.read_text(), log.read_text()
        finally:
            worker.kill()
            bridges.close()
    pg18.drop(database.name)


def test_a_task_that_changes_its_own_row_stops_after_twenty_rounds(stage: Stage) -> None:
    key = stage.watch("naive", "loop.raise_price")
    stage.change(key)
    letters = "select reason, key, context from bridge.dead_letter where watch = 'naive'"
    assert eventually(lambda: len(stage.all(letters)) == 1)
    assert stage.runs("loop.raise_price", key) == 20
    [(reason, letter_key, context)] = stage.all(letters)
    assert letter_key == [key]
    assert "naive -> naive" in reason
    assert "own_writes" in reason
    found = json.loads(context)
    assert found["depth"] == 20
    assert [one and one["depth"] for one in stage.contexts("naive")] == [None, *range(1, 21)]
    # A person who retries it gets the task once more, and then the next one is the twenty-first in its chain.
    stage.change(key + 1)
    assert eventually(lambda: len(stage.all(letters)) == 2), "the chain of another row has its own twenty"
    assert stage.runs("loop.raise_price", key + 1) == 20


@pytest.mark.parametrize("how", ["hand_on", "link"])
def test_a_circle_through_tasks_that_celery_starts_ends_too(stage: Stage, how: str) -> None:
    key = stage.watch(how, f"loop.{how}")
    stage.change(key)
    letters = "select reason, context from bridge.dead_letter where watch = %s"
    assert eventually(lambda: len(stage.all(letters, how)) == 1)
    assert stage.runs(f"loop.{how}", key) == 20
    [(reason, context)] = stage.all(letters, how)
    assert f"{how} -> {how}" in reason
    assert json.loads(context)["task"] == "loop.raise_price"


def test_own_writes_can_be_ignored(stage: Stage) -> None:
    key = stage.watch("ignoring", "loop.raise_price", own_writes="ignore")
    stage.change(key)
    assert eventually(lambda: len(stage.contexts("ignoring")) == 2)
    stage.change(key + 1)
    assert eventually(lambda: len(stage.contexts("ignoring")) == 4)
    # Events of one key are published in order, so a third change shows that the second event started nothing.
    stage.change(key)
    assert eventually(lambda: len(stage.contexts("ignoring")) == 6)
    assert stage.runs("loop.raise_price", key) == 2
    assert stage.runs("loop.raise_price", key + 1) == 1
    assert eventually(lambda: stage.all("select sum(waiting) from bridge.status()") == [(0,)]), "the position moves on"
    skipped = 'bridge_events_skipped_total{stream="default",watch="ignoring"} 3.0'
    assert eventually(lambda: skipped in stage.bridge.get("/metrics"))
    [_, own, *_] = stage.contexts("ignoring")
    assert own["cause"]["watch"] == "ignoring"
    assert own["cause"]["key"] == [key]
    assert (own["task"], own["depth"], own["chain"]) == ("loop.raise_price", 1, ["ignoring"])


def test_other_rows_that_the_task_writes_start_it_and_a_user_at_the_same_time_too(stage: Stage) -> None:
    key = stage.watch("next", "loop.raise_next", own_writes="ignore")
    stage.change(key)
    # Row 1 writes rows 1 and 2; so 2 starts, and writes 2 and 3; 3 starts, and writes only itself.
    assert eventually(lambda: stage.runs("loop.raise_next", key + 2) == 1)
    assert eventually(lambda: len(stage.contexts("next")) == 6)
    stage.change(key + 2)
    assert eventually(lambda: stage.runs("loop.raise_next", key + 2) == 2)
    assert stage.runs("loop.raise_next", key, key + 1) == 2


def test_a_task_that_changes_the_key_of_its_row_has_changed_its_own_row(stage: Stage) -> None:
    key = stage.watch("moving", "loop.move", own_writes="ignore")
    stage.change(key)
    assert eventually(lambda: len(stage.contexts("moving")) == 2)
    stage.change(key + 1_000_000)
    assert eventually(lambda: stage.runs("loop.move", key + 1_000_000) == 1), "a person's change of it starts the task"


def test_a_task_that_celery_runs_again_is_the_same_link_of_the_chain(stage: Stage) -> None:
    key = stage.watch("again", "loop.again", own_writes="ignore")
    stage.change(key)
    assert eventually(lambda: len(stage.contexts("again")) == 2)
    stage.change(key)
    assert eventually(lambda: stage.runs("loop.again", key) == 2)
    own = stage.contexts("again")[1]
    assert (own["depth"], own["cause"]["key"]) == (1, [key])


def test_tasks_of_several_threads_have_their_own_contexts(stage: Stage) -> None:
    key = stage.watch("slow", "loop.slow", call="event", own_writes="ignore", coalesce=True)
    for number in range(3):
        with stage.conn.transaction():
            stage.conn.execute("select set_config('bridge.context', %s, true)", [json.dumps({"user": number})])
            stage.change(key + number)
    assert eventually(lambda: len(stage.contexts("slow")) == 12)
    for found in stage.contexts("slow"):
        if "task" in found:
            assert found["cause"]["key"] == [found["step"]]
            assert found["user"] == found["step"] - key, "who it was is known along the chain"
            assert (found["task_id"],) in stage.all("select task_id from run where key = %s", found["step"])
    stage.change(key)
    assert eventually(lambda: len(stage.contexts("slow")) == 16)
    assert stage.runs("loop.slow", key, key + 1, key + 2) == 4
