"""Each command that a finding names can be given to a shell as it is printed, and mends the finding."""

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

from tests.eventually import eventually
from tests.fix_bridge import BRIDGE, ROOT, environment
from tests.fix_broker import Broker
from tests.fix_postgres import Database, PgServer, on_pg18
from tools.servers import Child, PrivateDirectory

ODD = "Odd \"alias\" $HOME `id` 'x'"
QUEUE = "Odd $queue"
_SETTINGS = """
import json, os
from pathlib import Path
SECRET_KEY = "x"
USE_TZ = True
INSTALLED_APPS = ["django_app"]
BASE = {{"ENGINE": "django.db.backends.postgresql", **{server!r}}}
DATABASES = {{"default": {{**BASE, "NAME": {first!r}}}, {odd!r}: {{**BASE, "NAME": {second!r}}}}}
BRIDGE_DATABASE = ["default", {odd!r}]
BRIDGE_WATCHES = json.loads((Path(__file__).parent / "watches.json").read_text())
BRIDGE_CELERY_APP = "odd_app:app"
"""
_APP = """
import celery
app = celery.Celery("odd", broker={broker!r})
app.conf.update(task_default_queue={queue!r}, broker_connection_retry_on_startup=True)
@app.task(name="odd.touch")
def touch(*key): ...
"""
_MANAGE = """
import os
from django.core.management import execute_from_command_line
os.environ["DJANGO_SETTINGS_MODULE"] = "odd_settings"
import sys
execute_from_command_line(sys.argv)
"""
_TABLE = 'create schema "My Shop"; create table "My Shop"."Odd Name" (id int primary key, price int)'
_WATCH = {"name": "odd", "table": '"My Shop"."Odd Name"', "task": "odd.touch"}


class Site:
    """A project with two databases, on which the commands run as a user runs them."""

    def __init__(self, directory: Path, private: PrivateDirectory, using: str, dsn: str) -> None:
        self.directory, self.private, self.using, self.dsn = directory, private, using, dsn
        self.children: list[Child] = []
        self.mended: list[str] = []
        self.env = environment(
            PYTHONPATH=f"{directory}:{ROOT}", C_FORCE_ROOT="1", PATH=f"{directory}:{BRIDGE.parent}:/bin"
        )

    def declare(self, **watch: Any) -> None:
        declared = [{**_WATCH, **watch, "using": self.using}] if watch else []
        (self.directory / "watches.json").write_text(json.dumps(declared))

    def execute(self, sql: str) -> None:
        with psycopg.connect(self.dsn, autocommit=True) as connection:
            connection.execute(sql.encode())

    def bridge(self, *words: str) -> subprocess.CompletedProcess[str]:
        argv = ["manage.py", "bridge", *words, "--database", self.using]
        return subprocess.run(
            argv, env=self.env, cwd=self.directory, capture_output=True, text=True, check=False, timeout=60
        )

    def findings(self) -> list[str]:
        done = self.bridge("doctor", "--json")
        return list(json.loads(done.stdout)) if done.stdout else [done.stderr.strip()]

    def log(self) -> str:
        return (self.directory / "log").read_text() if self.children else ""

    def mend(self, *said: str) -> None:
        """Follows the findings of these words. The next look must not have them any more: a look takes seconds."""
        found = self.findings()
        assert not any(words in line for words in self.mended for line in found), (self.mended, found)
        for words in said:
            [finding] = [line for line in found if words in line]
            self.follow(finding)
        self.mended += said
        if self.children:
            assert eventually(self.is_mended, 30), (said, self.log())

    def is_mended(self) -> bool:
        found = self.findings()
        return not any(words in line for words in self.mended for line in found)

    def follow(self, finding: str) -> None:
        quoted = re.search(r"`(.*)`", finding) or re.search(r"start one: (.*)", finding)
        assert quoted, finding
        command = quoted[1]
        if " run" in command or " worker" in command:
            argv = ["sh", "-c", f"exec {command}"]
            log = self.directory / "log"
            self.children.append(Child(argv, self.private, log=log, env=self.env, cwd=self.directory))
            return
        done = subprocess.run(
            ["sh", "-c", command], env=self.env, cwd=self.directory, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, (command, done.stdout, done.stderr)


@pytest.fixture
def private() -> Iterator[PrivateDirectory]:
    with PrivateDirectory() as directory:
        yield directory


# The commands without `--database` differ only by that. Each run takes a minute.
@pytest.fixture(params=[pytest.param("default", marks=pytest.mark.soak, id="default"), pytest.param(ODD, id="odd")])
def site(
    request: pytest.FixtureRequest,
    empty_database: Database,
    pg_server: PgServer,
    valkey: Broker,
    tmp_path: Path,
    private: PrivateDirectory,
) -> Iterator[Site]:
    second = f"{empty_database.name}_second"
    with empty_database.connect() as admin:
        admin.execute(f"create database {second}".encode())
    parts = psycopg.conninfo.conninfo_to_dict(empty_database.dsn)
    server = {"HOST": parts.get("host", ""), "PORT": str(parts.get("port", "")), "USER": parts.get("user", "")}
    values = {"server": server, "first": empty_database.name, "second": second, "odd": ODD}
    (tmp_path / "odd_settings.py").write_text(_SETTINGS.format(**values))
    (tmp_path / "odd_app.py").write_text(_APP.format(broker=valkey.url, queue=valkey.queue))
    manage = tmp_path / "manage.py"
    manage.write_text(f"#!{sys.executable}\n{_MANAGE}")
    manage.chmod(0o755)
    name = empty_database.name if request.param == "default" else second
    site = Site(tmp_path, private, request.param, psycopg.conninfo.make_conninfo(empty_database.dsn, dbname=name))
    site.declare()
    site.execute(_TABLE)
    yield site
    for child in site.children:
        child.kill()
    pg_server.drop(second)


@on_pg18
def test_each_command_mends_its_finding(site: Site) -> None:
    site.declare(queue=QUEUE)
    # The project looks at all its databases.
    site.mend("is not installed in database")
    site.mend("the schema bridge is not installed")
    site.execute("select bridge.unwatch('odd')")
    site.mend('watch "odd" is declared, but not installed')
    site.declare(queue=QUEUE, on=["update"])
    site.mend('watch "odd" is installed with another definition')
    by_hand = (
        "select bridge.watch('by-hand', '\"My Shop\".\"Odd Name\"', 'odd.touch', options => '{\"queue\": \"%s\"}')"
    )
    site.execute(by_hand % QUEUE)
    site.execute('alter table "My Shop"."Odd Name" disable trigger all')
    # The project knows more about its own watch, so there is one finding for each.
    site.mend('"odd" does not fit its table', '"by-hand" does not fit its table')
    site.mend("nobody serves it", "no worker answers")
    site.mend(f'watch "odd": no worker reads its queue "{QUEUE}"')
    site.declare()
    site.mend('watch "odd" is installed, but no longer declared')
    # A worker that is busy may answer too late, so one look is not enough.
    assert eventually(lambda: site.findings() == [], 30), site.findings()
    # A dead letter is for a person to decide: the command shows it.
    site.execute(
        "insert into bridge.dead_letter (id, at, stream, watch, op, reason) "
        "values (1, now(), 'default', 'by-hand', 'insert', 'as asked')"
    )
    [finding] = [line for line in site.findings() if "dead letters" in line]
    site.follow(finding)


@on_pg18
def test_what_no_command_can_repair_says_why(site: Site) -> None:
    site.mend("is not installed in database")
    site.execute("select bridge.watch('by-hand', '\"My Shop\".\"Odd Name\"', 'odd.touch', columns => '{price}')")
    site.execute('alter table "My Shop"."Odd Name" drop column price cascade')
    done = site.bridge("repair")
    assert (done.returncode, done.stdout) == (
        1,
        'NOT REPAIRED by-hand: table "My Shop"."Odd Name" has no column "price"; declare it again, or remove it\n',
    )
    site.execute('drop table "My Shop"."Odd Name"')
    done = site.bridge("repair")
    assert done.stdout == "NOT REPAIRED by-hand: its table was dropped; declare it again, or remove it\n"
