"""The command `bridge`: what it teaches, what it shows, and that every mistake is one clear sentence."""

import json
import re
import secrets
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import psycopg
import pytest
from embedded import Child, Postgres, PrivateDirectory
from embedded.port import free_port
from psycopg import sql
from psycopg.conninfo import make_conninfo
from psycopg.types.json import Jsonb

from bridge.cli import main
from bridge.schema import version
from tests.eventually import eventually
from tests.fix_bridge import BRIDGE, Bridges, environment
from tests.fix_broker import Broker
from tests.fix_postgres import Database, on_pg15, on_pg18
from tests.inbox import inbox

COMMANDS = ["install", "apply", "run", "status", "tail"]
SECRET = "tops3cret"
WATCH = """
[[watch]]
name = "reprice"
table = "product"
task = "shop.tasks.reprice"
"""


@dataclass(frozen=True)
class Result:
    code: int
    out: str
    err: str

    def sentence(self) -> str:
        """The error of a wrong use: one line, no traceback, no password, exit code 2."""
        assert self.code == 2, self
        lines = self.err.strip().splitlines()
        assert len(lines) == 1, self.err
        assert SECRET not in self.out + self.err
        assert lines[0].startswith("Error: "), lines
        return lines[0].removeprefix("Error: ")


class Command(Protocol):
    def __call__(self, *arguments: str | Path) -> Result: ...


@pytest.fixture
def bridge(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    """The console script in this process, which is quick; `run` sets up logging and signals, so it is `started`."""
    monkeypatch.setenv("COLUMNS", "160")
    for name in ("BRIDGE_DATABASE_URL", "DATABASE_URL"):
        monkeypatch.delenv(name, raising=False)

    def command(*arguments: str | Path) -> Result:
        monkeypatch.setattr(sys, "argv", ["bridge", *map(str, arguments)])
        code: Any = 0
        try:
            main()
        except SystemExit as exit_:
            code = exit_.code
        return Result(code or 0, *capsys.readouterr())

    return command


def started(*arguments: str | Path, **more: str) -> Result:
    """The console script as a process that ends by itself."""
    done = subprocess.run(
        [BRIDGE, *arguments], check=False, capture_output=True, text=True, timeout=30, env=environment(**more)
    )
    return Result(done.returncode, done.stdout, done.stderr)


class Launch(Protocol):
    def __call__(self, argv: Sequence[str | Path], log: Path, env: Mapping[str, str]) -> Child: ...


@pytest.fixture
def launch() -> Iterator[Launch]:
    """Starts processes that end with the test."""
    children: list[Child] = []
    with PrivateDirectory() as directory:

        def start(argv: Sequence[str | Path], log: Path, env: Mapping[str, str]) -> Child:
            children.append(Child(argv, directory, log=log, env=env))
            return children[-1]

        yield start
        for child in children:
            child.kill()


@pytest.fixture
def product(conn: psycopg.Connection) -> None:
    conn.execute("create table product (id int primary key, price int)")


@pytest.fixture
def file(tmp_path: Path) -> Path:
    file = tmp_path / "bridge.toml"
    file.write_text(WATCH)
    return file


def watches(conn: psycopg.Connection) -> list[str]:
    return [row[0] for row in conn.execute("select name from bridge.watch where removed_at is null order by 1")]


# --- Help -------------------------------------------------------------------------------------------------------------


def test_help_names_the_three_steps(bridge: Command) -> None:
    for arguments in (["--help"], ["-h"]):
        done = bridge(*arguments)
        assert done.code == 0
        for step in ("bridge install", "bridge apply bridge.toml", "bridge run"):
            assert step in done.out
        for command in COMMANDS:
            assert re.search(rf"^  {command} +\S", done.out, re.MULTILINE), command


def test_without_a_command_it_shows_the_help(bridge: Command) -> None:
    done = bridge()
    assert done.code == 2
    assert "bridge install" in done.out + done.err


@pytest.mark.parametrize("command", COMMANDS)
def test_each_command_has_help(bridge: Command, command: str) -> None:
    done = bridge(command, "--help")
    assert done.code == 0
    assert "BRIDGE_DATABASE_URL" in done.out
    assert re.search(r"^  [A-Z].*\.", done.out, re.MULTILINE)


def test_help_of_apply_shows_a_whole_watch(bridge: Command) -> None:
    out = bridge("apply", "--help").out
    for line in ("[[watch]]", 'name = "reprice"', 'table = "shop.product"', 'on = ["update"]'):
        assert line in out


def test_every_option_of_run_is_explained(bridge: Command) -> None:
    out = bridge("run", "--help").out
    options = re.findall(r"^  (--[a-z-]+) ", out, re.MULTILINE)
    assert {"--database-url", "--broker-url", "--app", "--stream", "--http"} <= set(options)
    for option in options:
        variable = "BRIDGE_" + option.removeprefix("--").replace("-", "_").upper()
        assert {"--app": "BRIDGE_CELERY_APP"}.get(option, variable) in out


def test_unknown_command_and_option_are_wrong_use(bridge: Command) -> None:
    for arguments in (["stats"], ["status", "--jsno"], ["apply"], ["run", "--batch-size=0"]):
        done = bridge(*arguments)
        assert done.code == 2
        assert "Error: " in done.err
        assert "Traceback" not in done.err


def test_tells_its_version() -> None:
    done = started("--version")
    assert (done.code, done.out) == (0, f"bridge, version {version()}\n")


# --- Wrong databases --------------------------------------------------------------------------------------------------


def calls(file: Path) -> dict[str, list[str]]:
    return {"install": ["install"], "apply": ["apply", str(file)], "status": ["status"], "tail": ["tail"]}


def everywhere(bridge: Command, file: Path, url: str, only: Sequence[str] = ()) -> set[str]:
    """What each command says of this address."""
    chosen = [call for name, call in calls(file).items() if not only or name in only]
    said = {bridge(*call, "--database-url", url).sentence() for call in chosen}
    if not only or "run" in only:
        done = started("run", "--broker-url=memory://", BRIDGE_DATABASE_URL=url)
        # Its log goes to standard error too.
        [error] = [line for line in done.err.splitlines() if line.startswith("Error: ")]
        said.add(Result(done.code, done.out, error).sentence())
        assert SECRET not in done.err
        assert "Traceback" not in done.err
    return said


def test_no_database_is_named(bridge: Command, file: Path) -> None:
    said = {bridge(*call).sentence() for call in calls(file).values()}
    assert said == {"no database: give --database-url (BRIDGE_DATABASE_URL)"}


@pytest.mark.parametrize(
    "url", [f"postgres//ann:{SECRET}@host/name", f"host password={SECRET}", f"mysql://ann:{SECRET}@host/name"]
)
def test_address_that_is_none(bridge: Command, file: Path, url: str) -> None:
    [sentence] = everywhere(bridge, file, url)
    assert "postgresql://user@host/name" in sentence


@pytest.mark.parametrize(
    "rest", [f"{SECRET}@host:port", f"{SECRET}@host:99999", f"{SECRET}/x@host", f"x@{SECRET}@host"]
)
def test_port_or_host_that_is_none(bridge: Command, file: Path, rest: str) -> None:
    [sentence] = everywhere(bridge, file, f"postgresql://ann:{rest}/name")
    assert "no valid host and port" in sentence
    assert "%2F" in sentence


def test_unknown_database(bridge: Command, file: Path, embedded_postgres: Postgres) -> None:
    [sentence] = everywhere(bridge, file, embedded_postgres.dsn("nowhere"))
    assert 'database "nowhere" does not exist' in sentence


def test_server_that_is_down(bridge: Command, file: Path) -> None:
    url = f"postgresql://ann:{SECRET}@127.0.0.1:{free_port()}/shop"
    [sentence] = everywhere(bridge, file, url, only=["install", "apply", "status", "tail"])
    assert "127.0.0.1" in sentence
    assert "refused" in sentence.lower()


def test_run_waits_for_a_server_that_is_down_and_says_so(launch: Launch, tmp_path: Path) -> None:
    url = f"postgresql://ann:{SECRET}@127.0.0.1:{free_port()}/shop"
    log = tmp_path / "run.log"
    env = environment(BRIDGE_DATABASE_URL=url, BRIDGE_BROKER_URL="memory://")
    child = launch([BRIDGE, "run"], log, env)
    assert eventually(lambda: "refused" in log.read_text().lower()), log.read_text()
    assert child.stop() == 0
    assert log.read_text().lower().count("refused") == 1, "once, not with every try"
    assert SECRET not in log.read_text()


def test_refused_password(bridge: Command, file: Path) -> None:
    with Postgres(tcp=True) as server:
        url = f"postgresql://postgres:{SECRET}@127.0.0.1:{server.port}/postgres"
        [sentence] = everywhere(bridge, file, url)
    assert 'password authentication failed for user "postgres"' in sentence


@pytest.fixture
def nobody(database: Database, conn: psycopg.Connection) -> Iterator[str]:
    """A role that may connect and nothing else, as an address."""
    name = f"nobody_{secrets.token_hex(6)}"
    conn.execute(sql.SQL("create role {} login").format(sql.Identifier(name)))
    yield make_conninfo(database.dsn, options=f"-c role={name}")
    conn.execute(sql.SQL("drop role {}").format(sql.Identifier(name)))


@on_pg15
def test_role_without_rights(bridge: Command, file: Path, nobody: str) -> None:
    for sentence in everywhere(bridge, file, nobody):
        assert "permission denied" in sentence or "must be owner" in sentence
        assert "docs/howto/roles.md" in sentence


@on_pg18
def test_database_without_the_schema(bridge: Command, file: Path, empty_database: Database) -> None:
    [sentence] = everywhere(bridge, file, empty_database.dsn, only=["apply", "status", "tail", "run"])
    assert sentence.startswith("Commit Bridge is not installed in database")
    assert "`bridge install`" in sentence


# --- install ----------------------------------------------------------------------------------------------------------


def test_install_says_what_it_did(bridge: Command, empty_database: Database) -> None:
    first = bridge("install", "--database-url", empty_database.dsn)
    assert (first.code, first.err) == (0, "")
    assert first.out.startswith(f"Installed {version()}. Next: bridge apply")
    again = bridge("install", "--database-url", empty_database.dsn)
    assert again.code == 0
    assert f"{version()} was installed already" in again.out


# --- apply ------------------------------------------------------------------------------------------------------------


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
    assert "task" not in done.out, "what stays as it is isn't shown"
    file.write_text(WATCH + 'columns = ["price"]\nqueue = "slow"\n')
    done = bridge("apply", file, "--database-url", database.dsn)
    assert '  - options.queue = "updates"\n  + options.queue = "slow"\n' in done.out
    done = bridge("apply", file, "--database-url", database.dsn)
    assert (done.code, done.out) == (0, "Nothing to do: all as declared.\n")


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
    assert (done.code, done.out) == (0, "Nothing to do: all as declared.\n")


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
    "unknown key": (WATCH + 'colums = ["price"]\n', "`colums`"),
    "unknown table of toml": (WATCH.replace("[[watch]]", "[[watches]]"), "`watches`"),
    "missing name": (WATCH.replace('name = "reprice"', ""), "`name`"),
    "wrong type": (WATCH + 'columns = "price"\n', "watch[1].columns"),
    "unknown operation": (WATCH + 'on = ["upsert"]\n', "upsert"),
    "unknown database table": (WATCH.replace("product", "prodcut"), 'watch "reprice": there is no table prodcut'),
    "unknown column": (WATCH + 'columns = ["prize"]\n', 'watch "reprice": table public.product has no column "prize"'),
    "bad condition": (WATCH + 'on = ["update"]\nwhen = "new.prize > 0"\n', 'watch "reprice": the condition'),
    "no expression": (WATCH + 'when = "true); drop table product; --"\n', 'watch "reprice": the condition'),
    "bad option": (WATCH + "priority = 999\n", 'watch "reprice": option "priority"'),
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
    assert watches(conn) == [], "all or nothing"


def test_file_that_is_not_there(bridge: Command, tmp_path: Path) -> None:
    for path in (tmp_path / "nowhere.toml", tmp_path):
        done = bridge("apply", path, "--database-url", "postgresql:///unused")
        assert done.code == 2
        assert str(path) in done.err
        assert "Traceback" not in done.err


# --- status -----------------------------------------------------------------------------------------------------------


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
    assert 'nobody serves stream "default"' in done.out
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
    assert eventually(lambda: "takes nothing" in bridge(*arguments).out)
    done = bridge(*arguments)
    assert done.code == 1
    assert re.search(
        r'^! the broker takes nothing of stream "default" since [-\d]+ [:\d]+: .*refused', done.out, re.MULTILINE
    )
    assert SECRET not in done.out
    [stream] = json.loads(bridge(*arguments, "--json").out)["streams"]
    assert stream["broker_error"] in done.out


# --- tail -------------------------------------------------------------------------------------------------------------


@on_pg18
@pytest.mark.parametrize("style", [[], ["--json"]], ids=["text", "json"])
def test_tail_shows_events_as_they_come(
    database: Database, conn: psycopg.Connection, product: None, launch: Launch, tmp_path: Path, style: list[str]
) -> None:
    conn.execute("select bridge.watch('touch', 'product', 'shop.tasks.touch', data => '{price}')")
    log = tmp_path / "tail.log"
    env = environment(BRIDGE_DATABASE_URL=database.dsn, PYTHONUNBUFFERED="1")
    child = launch([BRIDGE, "tail", *style], log, env)

    # Nothing says that it looks, so events come until it shows one.
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
    assert conn.execute("select sum(waiting) > 0 from bridge.status()").fetchone() == (True,), "it takes nothing away"


@on_pg18
def test_tail_of_an_unknown_stream(bridge: Command, database: Database) -> None:
    sentence = bridge("tail", "--stream=slow", "--database-url", database.dsn).sentence()
    assert sentence == 'there is no stream "slow"; there are: default'


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


# --- run --------------------------------------------------------------------------------------------------------------


def test_a_duration_that_is_none_names_the_fix(bridge: Command) -> None:
    for option in ("--retention", "--inbox-retention", "--grace", "--poll-floor", "--takeover-after"):
        done = bridge("run", f"{option}=soon")
        assert done.code == 2
        assert f"'{option}'" in done.err
        assert "write 90s, 30m, 24h" in done.err
    assert "[env var: BRIDGE_RETENTION; default: 24h]" in " ".join(bridge("run", "--help").out.split())


def run_fails(*arguments: str, **more: str) -> str:
    done = started("run", *arguments, **more)
    [error] = [line for line in done.err.splitlines() if line.startswith("Error: ")]
    assert SECRET not in done.err
    assert "Traceback" not in done.err
    return Result(done.code, done.out, error).sentence()


def test_run_without_a_broker() -> None:
    sentence = run_fails(BRIDGE_DATABASE_URL="postgresql:///unused")
    assert sentence == "no broker: give --broker-url (BRIDGE_BROKER_URL) or --app (BRIDGE_CELERY_APP)"


@pytest.mark.parametrize(
    ("app", "named"),
    [
        ("nowhere.celery:app", "nowhere"),
        ("json:nothing", "nothing"),
        ("json:loads", "not a Celery app"),
        ("json", "json"),
    ],
)
def test_run_with_a_wrong_app(app: str, named: str) -> None:
    sentence = run_fails(f"--app={app}", BRIDGE_DATABASE_URL="postgresql:///unused")
    assert sentence.startswith(f"--app {app}: ")
    assert named in sentence.removeprefix(f"--app {app}: ")


@pytest.mark.parametrize("address", [f"kafkaesque://ann:{SECRET}@host", f"amqp://ann:{SECRET}@host:port//"])
def test_run_with_a_wrong_broker(address: str) -> None:
    sentence = run_fails(f"--broker-url={address}", BRIDGE_DATABASE_URL="postgresql:///unused")
    assert "broker" in sentence


@pytest.mark.parametrize("address", ["nonsense", "127.0.0.1:99999", "127.0.0.1:", "192.0.2.1:80"])
def test_run_with_a_wrong_http_address(address: str) -> None:
    sentence = run_fails("--broker-url=memory://", f"--http={address}", BRIDGE_DATABASE_URL="postgresql:///unused")
    assert sentence.startswith(f"--http {address}: ")
