"""Helpers that call `bridge` as a test needs it, and the file that it reads."""

import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import psycopg

from tests.fix_bridge import BRIDGE, environment
from tools.servers import Child

COMMANDS = ["install", "apply", "repair", "run", "status", "tail"]
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
        """Returns the error of a wrong use: one line without traceback or password, and exit code 2."""
        assert self.code == 2, self
        lines = self.err.strip().splitlines()
        assert len(lines) == 1, self.err
        assert SECRET not in self.out + self.err
        assert lines[0].startswith("Error: "), lines
        return lines[0].removeprefix("Error: ")


class Command(Protocol):
    def __call__(self, *arguments: str | Path) -> Result: ...


def started(*arguments: str | Path, **more: str) -> Result:
    """Runs the console script as a process that ends by itself."""
    done = subprocess.run(
        [BRIDGE, *arguments], check=False, capture_output=True, text=True, timeout=30, env=environment(**more)
    )
    return Result(done.returncode, done.stdout, done.stderr)


class Launch(Protocol):
    def __call__(self, argv: Sequence[str | Path], log: Path, env: Mapping[str, str]) -> Child: ...


def watches(conn: psycopg.Connection) -> list[str]:
    return [row[0] for row in conn.execute("select name from bridge.watch where removed_at is null order by 1")]
