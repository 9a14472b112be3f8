"""The command `bridge`, processes of it, and the database and file that it works on."""

import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import psycopg
import pytest

from bridge.cli.main import main
from tests.cli.command import WATCH, Command, Launch, Result
from tools.servers import Child, PrivateDirectory


@pytest.fixture
def bridge(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    """Calls the command in this process, which is fast. `run` sets up logging and signals, so tests use `started`."""
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
