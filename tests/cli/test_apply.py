"""`bridge apply` shows the difference, makes it, and names each mistake in the file."""

import json
from pathlib import Path

import psycopg
import pytest

from tests.cli.command import WATCH, Command, watches
from tests.fix_postgres import Database, on_pg18


@on_pg18
def test_apply_shows_a_diff_and_does_it(
    bridge: Command, file: Path, database: Database, conn: psycopg.Connection, product: None
) -> None:
    done = bridge("apply", file, "--database-url", database.dsn)
    assert done.code == 0
    assert "create reprice" in done.out
    assert '+ task = "shop.tasks.reprice"' in done.out
    assert "1 done, 1 declared." in done.out
    assert watches(conn) == ["reprice"]
    file.write_text(WATCH + 'columns = ["price"]\nqueue = "updates"\n')
    done = bridge("apply", file, "--database-url", database.dsn)
    assert "replace reprice" in done.out
    assert '+ columns = ["price"]' in done.out
    assert '+ options.queue = "updates"' in done.out
    assert "task" not in done.out, "unchanged keys must not be shown"
    file.write_text(WATCH + 'columns = ["price"]\nqueue = "slow"\n')
    done = bridge("apply", file, "--database-url", database.dsn)
    assert '  - options.queue = "updates"\n  + options.queue = "slow"\n' in done.out
    done = bridge("apply", file, "--database-url", database.dsn)
    assert (done.code, done.out) == (0, "Nothing to do: all are as declared.\n")


@on_pg18
def test_dry_run_changes_nothing_and_tells_by_its_exit_code(
    bridge: Command, file: Path, database: Database, conn: psycopg.Connection, product: None
) -> None:
    done = bridge("apply", file, "--dry-run", "--database-url", database.dsn)
    assert done.code == 1
    assert "create reprice" in done.out
    assert "1 to do" in done.out
    assert watches(conn) == []
    assert bridge("apply", file, "--database-url", database.dsn).code == 0
    done = bridge("apply", file, "--dry-run", "--database-url", database.dsn)
    assert (done.code, done.out) == (0, "Nothing to do: all are as declared.\n")


@on_pg18
def test_prune_removes_what_the_file_no_longer_names(
    bridge: Command, file: Path, database: Database, conn: psycopg.Connection, product: None
) -> None:
    other = WATCH.replace("reprice", "other")
    file.write_text(WATCH + other)
    assert bridge("apply", file, "--database-url", database.dsn).code == 0
    conn.execute("""select bridge.watch('django', 'product', 'a.task', options => '{"source": "django"}')""")
    file.write_text(other)
    assert bridge("apply", file, "--database-url", database.dsn).out.startswith("Nothing to do")
    done = bridge("apply", file, "--prune", "--dry-run", "--database-url", database.dsn)
    assert done.code == 1
    assert "remove reprice" in done.out
    assert '- task = "shop.tasks.reprice"' in done.out
    assert watches(conn) == ["django", "other", "reprice"]
    assert bridge("apply", file, "--prune", "--database-url", database.dsn).code == 0
    assert watches(conn) == ["django", "other"]


@on_pg18
def test_apply_prints_json_for_programs(bridge: Command, file: Path, database: Database, product: None) -> None:
    done = bridge("apply", file, "--dry-run", "--json", "--database-url", database.dsn)
    assert done.code == 1
    [change] = json.loads(done.out)
    assert (change["action"], change["name"], change["before"]) == ("create", "reprice", None)
    assert change["after"]["task"] == "shop.tasks.reprice"


BAD_FILES = {
    "broken": ("[[watch]\nname = 1", "bridge.toml"),
    "not utf-8": (b"\xff\xfe[[watch]]", "bridge.toml"),
    "unknown key": (
        WATCH + 'colums = ["price"]\n',
        'bridge.toml, watch "reprice": unknown key "colums"; did you mean "columns"?',
    ),
    "unlikely key": (WATCH + "zzz = 1\n", 'bridge.toml, watch "reprice": unknown key "zzz"'),
    "key with a place in it": (WATCH + '" - at `$.watch[9]`" = 1\n', "unknown key"),
    "unknown table of toml": (
        WATCH.replace("[[watch]]", "[[watches]]"),
        'bridge.toml: unknown key "watches"; did you mean "watch"?',
    ),
    "missing name": (WATCH.replace('name = "reprice"', ""), 'bridge.toml, watch number 2: the key "name" is missing'),
    "missing task": (WATCH.replace("task", "#"), 'bridge.toml, watch "reprice": the key "task" is missing'),
    "wrong type": (WATCH + 'columns = "price"\n', 'bridge.toml, watch "reprice": key "columns": Expected `array'),
    "unknown operation": (WATCH + 'on = ["upsert"]\n', 'watch "reprice": key "on[0]": Invalid enum value \'upsert\''),
    "bad condition": (WATCH + 'on = ["update"]\nwhen = "new.prize > 0"\n', 'watch "reprice": the condition'),
    "no expression": (WATCH + 'when = "true); drop table product; --"\n', 'watch "reprice": the condition'),
    "bad option": (WATCH + "priority = 999\n", 'watch "reprice": key "priority"'),
    "bad name": (WATCH.replace('"reprice"', '"re price"'), 'watch "re price": a name has'),
    "twice": (WATCH + WATCH, 'watch "reprice" is declared twice'),
}


@on_pg18
@pytest.mark.parametrize(("text", "named"), BAD_FILES.values(), ids=BAD_FILES.keys())
def test_mistake_in_the_file_is_named(
    bridge: Command,
    file: Path,
    database: Database,
    conn: psycopg.Connection,
    product: None,
    text: str | bytes,
    named: str,
) -> None:
    good = WATCH.replace("reprice", "good")
    file.write_bytes(text if isinstance(text, bytes) else (good + text).encode())
    sentence = bridge("apply", file, "--database-url", database.dsn).sentence()
    assert named in sentence
    assert watches(conn) == [], "a failed apply must change nothing"


@on_pg18
def test_what_has_no_table_yet_is_named_and_does_not_stop_the_others(
    bridge: Command, file: Path, database: Database, conn: psycopg.Connection, product: None
) -> None:
    late = WATCH.replace("reprice", "late").replace('"product"', '"prodcut"')
    file.write_text(WATCH + late + WATCH.replace("reprice", "half") + 'columns = ["price", "prize"]\n')
    for options, count in ((["--dry-run"], "1 to do"), ([], "1 done")):
        done = bridge("apply", file, *options, "--database-url", database.dsn)
        assert done.code == 1
        assert "NOT INSTALLED late: table prodcut does not exist, so its changes start nothing\n" in done.out
        assert 'NOT INSTALLED half: table product has no column "prize", so its changes start nothing\n' in done.out
        assert f"{count}, 2 not installed, 3 declared." in done.out
    assert watches(conn) == ["reprice"]
    conn.execute("create table prodcut (id int primary key); alter table product add prize int")
    assert bridge("apply", file, "--database-url", database.dsn).code == 0
    assert sorted(watches(conn)) == ["half", "late", "reprice"]


def test_file_that_is_not_there(bridge: Command, tmp_path: Path) -> None:
    for path in (tmp_path / "nowhere.toml", tmp_path):
        done = bridge("apply", path, "--database-url", "postgresql:///unused")
        assert done.code == 2
        assert str(path) in done.err
        assert "Traceback" not in done.err
