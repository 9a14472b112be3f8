"""No command of the process reaches a planted object, whatever the search_path of its role is."""

from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.cli.command import started
from tests.eventually import eventually
from tests.fix_bridge import BRIDGE, Bridges, environment
from tests.fix_hostile import Hostile
from tools.servers import Child, PrivateDirectory

_TOML = """
[[watch]]
name = "reprice"
table = "product"
task = "shop.tasks.reprice"
columns = ["price"]
when = "new.price > 1"

[[watch]]
name = "late"
table = "place"
task = "shop.tasks.late"
"""

# If public comes first, a command reaches all objects that it reaches with other paths, and more.
pytestmark = [pytest.mark.parametrize("path", ["public_first"], indirect=True)]

COMMANDS: dict[str, tuple[Sequence[str], int]] = {
    "install": (["install"], 0),
    "plan": (["apply", "{file}", "--dry-run", "--prune"], 1),
    "apply": (["apply", "{file}"], 0),
    "prune": (["apply", "{file}", "--prune", "--json"], 0),
    "status": (["status"], 1),
    "list": (["dead-letters", "list", "--watch", "reprice"], 0),
    "retry": (["dead-letters", "retry", "--id", "901"], 0),
    "retry_all": (["dead-letters", "retry", "--all"], 0),
    "discard": (["dead-letters", "discard", "--all", "--yes"], 0),
}


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_reaches_no_planted_object(hostile: Hostile, command: str, tmp_path: Path) -> None:
    file = tmp_path / "bridge.toml"
    file.write_text(_TOML)
    arguments, code = COMMANDS[command]
    done = started(*(argument.format(file=file) for argument in arguments), BRIDGE_DATABASE_URL=hostile.database.dsn)
    assert (done.code, hostile.reached()) == (code, []), done


def test_the_first_install_by_the_command_reaches_no_planted_object(unready: Hostile) -> None:
    done = started("install", BRIDGE_DATABASE_URL=unready.database.dsn)
    assert (done.code, unready.reached()) == (0, []), done


def test_repair_reaches_no_planted_object(hostile: Hostile) -> None:
    with hostile.connect() as conn:
        conn.execute("alter table public.product disable trigger all")
        conn.execute("alter table public.place rename to moved")
    for command, code in (("doctor", 1), ("repair", 1)):
        done = started(command, BRIDGE_DATABASE_URL=hostile.database.dsn)
        assert (done.code, hostile.reached()) == (code, []), done
    assert "repaired reprice" in done.out
    assert "NOT REPAIRED place: its table was changed or renamed" in done.out


def test_tail_reaches_no_planted_object(hostile: Hostile, tmp_path: Path) -> None:
    log = tmp_path / "tail.log"
    with PrivateDirectory() as directory, hostile.connect() as conn:
        env = environment(BRIDGE_DATABASE_URL=hostile.database.dsn, PYTHONUNBUFFERED="1")
        child = Child([BRIDGE, "tail"], directory, log=log, env=env)

        def seen() -> bool:
            conn.execute("update public.product set price = price operator(pg_catalog.+) 1")
            return "reprice" in log.read_text() or not child.running

        assert eventually(seen)
        child.kill()
    assert ("Traceback" in log.read_text(), hostile.reached()) == (False, [])


def test_a_running_bridge_reaches_no_planted_object(hostile: Hostile, run_bridge: Bridges, valkey_url: str) -> None:
    """The bridge reads a large window, a dead letter, a restored log and changed watches, and has a standby."""
    with hostile.connect() as conn:
        conn.execute("insert into bridge.event (stream, watch, op, key) values ('default', 'nobody', 'insert', '[1]')")
        conn.execute("update bridge.position set cluster = 1 where stream = 'places'")
        first = run_bridge(hostile.database.dsn, "--batch-size=2", broker_url=valkey_url)
        second = run_bridge(hostile.database.dsn, "--takeover-after=1s", broker_url=valkey_url, state="standby")
        waiting = "select count(*) from bridge.waiting"
        assert eventually(lambda: conn.execute(waiting).fetchone() == (0,), 30), first.log()
        conn.execute("update public.product set price = price operator(pg_catalog.+) 1")
        conn.execute("select bridge.watch('more', 'public.product', 'shop.tasks.more', stream => 'more')")
        conn.execute("insert into public.product values (9, 'Rice', 9)")
        assert eventually(lambda: conn.execute(waiting).fetchone() == (0,), 30), first.log()
        assert "bridge_lag_seconds" in first.get("/metrics")
        first.stop()
        second.wait_for("running")
        conn.execute("insert into public.product values (10, 'Oil', 10)")
        assert eventually(lambda: conn.execute(waiting).fetchone() == (0,), 30), second.log()
        second.stop()
        dead = conn.execute("select count(*) from bridge.dead_letter where watch = 'nobody'").fetchone()
    assert (dead, hostile.reached()) == ((1,), [])
