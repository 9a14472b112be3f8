"""The tutorials and README, followed word for word in an empty folder.

Only addresses and the path of the package differ.

A block with the language `console` has commands after `$`, and what they print. "..." stands for any lines. A title is
the name of another terminal: its commands go on running, and a block without a command is what that terminal prints
later. "^C" stops it. A block of Python has the name of its file as title.
"""

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple

import pytest
from psycopg.conninfo import conninfo_to_dict

from tests.eventually import eventually
from tests.fix_bridge import ROOT, environment
from tests.fix_broker import Broker
from tests.fix_postgres import PgServer, on_pg18
from tools.servers import Child, Postgres, PrivateDirectory

FIRST_TASK = ROOT / "docs" / "tutorial" / "first-task.md"
TUTORIAL = ROOT / "docs" / "tutorial" / "django.md"
README = ROOT / "README.md"
BLOCK = re.compile(r'^```(console|python)(?: title="([^"]+)")?\n(.*?)^```$', re.MULTILINE | re.DOTALL)
# Parts of a printed line that differ from run to run. The longest form comes first.
VARIABLE = re.compile(r"[0-9a-f]{8}-[0-9a-f-]{27}|celery@\w+|redis[+a-z]*://[^\s']+|\d+")
COMMAND_SECONDS = 120
OUTPUT_SECONDS = 60


class Step(NamedTuple):
    command: str
    printed: list[str]


def steps(block: str) -> Iterator[Step]:
    command, printed = "", list[str]()
    for line in block.splitlines():
        if line.startswith("$ "):
            if command or printed:
                yield Step(command, printed)
            command, printed = line[2:], []
        elif line.startswith(("> ", ">")) and not printed:
            command += "\n" + line[2:]
        else:
            printed.append(line)
    yield Step(command, printed)


def missing(printed: list[str], found: str) -> str | None:
    """Returns the first of these lines that is not in the text, after the one before it; None if all are there."""
    at = 0
    for line in printed:
        if line == "...":
            continue
        parts = [re.escape(part) for part in VARIABLE.split(line.strip())]
        match = re.compile(r"\S+?".join(parts)).search(found, at)
        if match is None:
            return line
        at = match.end()
    return None


class Reader:
    """A person who follows the tutorial."""

    def __init__(self, folder: Path, env: dict[str, str], own: dict[str, str]) -> None:
        """`own` has this reader's values for what the page says to replace."""
        self._folder = folder
        self._state = folder.parent / "state"
        self._state.write_text(f"cd {folder}\n")
        self._env = env
        self._own = own
        self._terminals: dict[str, Child] = {}

    def follow(self, page: str, stack: ExitStack) -> None:
        for name, value in self._own.items():
            page = page.replace(name, value)
        for kind, title, text in BLOCK.findall(page):
            if kind == "python":
                self._write(title, text)
                continue
            for step in steps(text):
                if title:
                    self._watch(title, step, stack)
                else:
                    self._run(step)

    def _write(self, title: str, text: str) -> None:
        name, _, where = title.partition(", ")
        file = self._directory() / name
        file.write_text((file.read_text() + "\n" if where == "at the end" else "") + text)

    def _run(self, step: Step) -> None:
        # The next command finds the directory and the variables of this one, as in a shell.
        script = f". {self._state}\nset -e\n{step.command}\n{{ export -p; echo cd $PWD; }} >{self._state}"
        done = subprocess.run(
            ["bash", "-c", script],
            check=False,
            env=self._env,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=COMMAND_SECONDS,
        )
        assert done.returncode == 0, f"$ {step.command}\n{done.stdout}"
        assert missing(step.printed, done.stdout) is None, f"$ {step.command}\n{done.stdout}"

    def _watch(self, title: str, step: Step, stack: ExitStack) -> None:
        if step.command:
            directory = stack.enter_context(PrivateDirectory())
            log = directory.path / "log"
            argv = ["bash", "-c", f". {self._state}\nexec {step.command}"]
            child = Child(argv, directory, log=log, env=self._env, cwd=self._folder)
            stack.callback(child.stop)
            self._terminals[title] = child
        if step.printed == ["^C"]:
            self._terminals[title].stop(signal.SIGINT)
            return
        log = self._terminals[title].log
        assert eventually(lambda: missing(step.printed, log.read_text()) is None, OUTPUT_SECONDS), (
            f"{title} did not print {missing(step.printed, log.read_text())!r}:\n{log.read_text()}"
        )

    def _directory(self) -> Path:
        return Path(self._state.read_text().rpartition("cd ")[2].strip())


@pytest.fixture
def place(pg_server: PgServer, valkey: Broker, wheel: Path) -> Iterator[tuple[dict[str, str], dict[str, str]]]:
    """Yields the environment of a reader, and this reader's values for what a page names."""
    server = conninfo_to_dict(pg_server.url)
    host, port = str(server["host"]), str(server["port"])
    name = f"bridge_test_{pg_server.run}_tutorial"
    python = Path(getattr(sys, "_base_executable", sys.executable)).parent
    path = os.pathsep.join([str(python), str(Postgres.bin("createdb").parent), "/usr/bin", "/bin"])
    own = {
        "/path/to/commit-bridge": str(wheel),
        "postgresql://postgres@127.0.0.1/": "postgresql://postgres@/",
        '"HOST": "127.0.0.1"': f'"HOST": "{host}", "PORT": "{port}"',
        "redis://127.0.0.1:6379/0": valkey.url,
        "shop_tutorial": name,
    }
    yield environment(PATH=path, PGHOST=host, PGPORT=port, C_FORCE_ROOT="1"), own
    pg_server.drop(name)


@on_pg18
@pytest.mark.timeout(400)
def test_the_tutorial_without_django(
    tmp_path: Path, place: tuple[dict[str, str], dict[str, str]], rabbitmq: Broker
) -> None:
    variables, own = place
    queue = {f"{word} tutorial": f"{word} {rabbitmq.queue}" for word in ("-Q", "queue.delete", "exchange.delete")}
    mine = {
        "amqp://guest:guest@127.0.0.1:5672//": rabbitmq.url,
        '\\"tutorial\\"': f'\\"{rabbitmq.queue}\\"',
        "bridge_tutorial": own["shop_tutorial"],
    }
    folder = tmp_path / "reader"
    folder.mkdir()
    with ExitStack() as stack:
        Reader(folder, variables, own | queue | mine).follow(FIRST_TASK.read_text(), stack)
    assert list(folder.iterdir()) == []


@on_pg18
@pytest.mark.timeout(400)
def test_the_django_tutorial(tmp_path: Path, place: tuple[dict[str, str], dict[str, str]]) -> None:
    folder = tmp_path / "reader"
    folder.mkdir()
    with ExitStack() as stack:
        Reader(folder, *place).follow(TUTORIAL.read_text(), stack)
    assert list(folder.iterdir()) == []


@on_pg18
@pytest.mark.timeout(400)
def test_the_four_steps_of_the_readme(tmp_path: Path, place: tuple[dict[str, str], dict[str, str]]) -> None:
    """The project is that of the tutorial, before it knew the bridge."""
    project = TUTORIAL.read_text().partition("## 4. ")[0].replace('["catalog", "django_app"]', '["catalog"]')
    migrated = "```console\n$ python manage.py makemigrations catalog\n$ python manage.py migrate\n```\n"
    steps = README.read_text().partition("## Django")[2].partition("## psql")[0]
    for name, value in {
        'title="settings.py': 'title="shop/settings.py',
    }.items():
        assert name in steps
        steps = steps.replace(name, value)
    folder = tmp_path / "reader"
    folder.mkdir()
    with ExitStack() as stack:
        Reader(folder, *place).follow(project + migrated + re.sub(r"^   ", "", steps, flags=re.MULTILINE), stack)
