"""`bridge tail` shows events as they arrive."""

import json
import re
import signal
from pathlib import Path

import psycopg
import pytest

from tests.cli.command import Command, Launch
from tests.eventually import eventually
from tests.fix_bridge import BRIDGE, environment
from tests.fix_postgres import Database, on_pg18


@on_pg18
@pytest.mark.parametrize("style", [[], ["--json"]], ids=["text", "json"])
def test_tail_shows_events_as_they_come(
    database: Database, conn: psycopg.Connection, product: None, launch: Launch, tmp_path: Path, style: list[str]
) -> None:
    conn.execute("select bridge.watch('touch', 'product', 'shop.tasks.touch', data => '{price}')")
    log = tmp_path / "tail.log"
    env = environment(BRIDGE_DATABASE_URL=database.dsn, PYTHONUNBUFFERED="1")
    child = launch([BRIDGE, "tail", *style], log, env)

    # The command does not report when it begins to look, so the test writes events until one is shown.
    def seen() -> bool:
        conn.execute("insert into product select coalesce(max(id), 0) + 1, 5 from product")
        return "touch" in log.read_text()

    assert eventually(seen)
    assert child.stop(signal.SIGINT) == 130
    first = log.read_text().splitlines()[0]
    if style:
        event = json.loads(first)
        assert (event["watch"], event["operation"], event["new"]) == ("touch", "insert", {"price": 5})
    else:
        assert re.fullmatch(r'\d\d:\d\d:\d\d\.\d{6} #\d+ touch insert \[\d+\] \{"new":\{"price":5\}\}', first)
    assert "Traceback" not in log.read_text()
    assert conn.execute("select sum(waiting) > 0 from bridge.status()").fetchone() == (True,), "tail consumed events"


@on_pg18
def test_tail_that_a_shell_has_put_in_the_background_is_deaf_to_ctrl_c(
    database: Database, conn: psycopg.Connection, product: None, launch: Launch, tmp_path: Path
) -> None:
    """Programs that install no handler for SIGINT behave like this: Ctrl-C is meant for the foreground program."""
    conn.execute("select bridge.watch('touch', 'product', 'shop.tasks.touch')")
    log = tmp_path / "tail.log"
    env = environment(BRIDGE_DATABASE_URL=database.dsn, PYTHONUNBUFFERED="1")
    child = launch(["/bin/sh", "-c", 'trap "" INT; exec "$0" tail', BRIDGE], log, env)

    def shows_more() -> bool:
        conn.execute("insert into product select coalesce(max(id), 0) + 1, 5 from product")
        return log.read_text().count("touch") > shown

    for _ in range(2):
        shown = log.read_text().count("touch")
        assert eventually(shows_more)
        child.send(signal.SIGINT)
    assert child.stop(signal.SIGTERM) == -signal.SIGTERM


@on_pg18
def test_tail_of_an_unknown_stream(bridge: Command, database: Database) -> None:
    sentence = bridge("tail", "--stream=slow", "--database-url", database.dsn).sentence()
    assert sentence == 'stream "slow" does not exist; the streams are: default'


@on_pg18
def test_reader_of_tail_may_go(
    database: Database, conn: psycopg.Connection, product: None, launch: Launch, tmp_path: Path
) -> None:
    """`bridge tail | head -1` ends without a traceback."""
    conn.execute("select bridge.watch('touch', 'product', 'shop.tasks.touch')")
    log = tmp_path / "tail.log"
    pipe = f"PYTHONUNBUFFERED=1 '{BRIDGE}' tail | head -1; echo ended"
    child = launch(["/bin/bash", "-c", pipe], log, environment(BRIDGE_DATABASE_URL=database.dsn))

    def ended() -> bool:
        conn.execute("insert into product select coalesce(max(id), 0) + 1, 5 from product")
        return not child.running

    assert eventually(ended), child.tail()
    assert child.wait(1) == 0
    assert [line.split()[-1] for line in log.read_text().splitlines()][1:] == ["ended"]
