"""Environment: a virtual environment of one combination, at the versions of uv.lock in all that it does not name."""

import os
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from versions.combination import NEWEST, Combination

ROOT = Path(__file__).parents[2]
HOME = ROOT / ".matrix"

_UV = ROOT / ".uv" / "bin" / "uv"  # scripts/setup has put it there
# Celery's own parts: each of its releases fits some of their versions only.
_CELERY = frozenset({"celery", "kombu", "billiard", "vine", "amqp", "redis"})
_MADE = "made-of.txt"


class SetUpError(Exception):
    """The environment could not be made; the message ends with what uv said."""


@dataclass(frozen=True)
class Environment:
    directory: Path

    def program(self, name: str) -> Path:
        return self.directory / "bin" / name

    def variables(self) -> dict[str, str]:
        """For programs in it: the checkout's, and nothing of the environment that we run in ourselves."""
        kept = {name: value for name, value in os.environ.items() if name not in ("VIRTUAL_ENV", "PYTHONPATH")}
        return kept | {"PYTHONPATH": f"{ROOT / 'scripts'}{os.pathsep}{ROOT / 'examples' / 'shop'}"}


def make(combination: Combination, python: Path) -> Environment:
    """As an earlier run has left it, where nothing that it was made of has changed."""
    made = Environment(HOME / combination.name)
    requirements = [f"--editable={ROOT}[dev]", f"django~={combination.django}.0"]
    if combination.celery != NEWEST:
        requirements.append(f"celery~={combination.celery}.0")
    constraints = _constraints(combination)
    # The project itself is part of it: its dependencies, and the scripts that the installation makes.
    made_of = "\n".join([str(python), *requirements, *constraints, (ROOT / "pyproject.toml").read_text()])
    note = made.directory / _MADE
    if note.exists() and note.read_text() == made_of:
        return made
    shutil.rmtree(made.directory, ignore_errors=True)
    _uv("venv", "--python", python, made.directory)
    (made.directory / "constraints.txt").write_text("\n".join(constraints))
    install: list[str | Path] = ["pip", "install", "--compile-bytecode", "--python", made.program("python")]
    _uv(*install, "--constraint", made.directory / "constraints.txt", *requirements)
    note.write_text(made_of)
    return made


def _constraints(combination: Combination) -> list[str]:
    """The lock, without what the combination chooses."""
    free = {"django"} | (_CELERY if combination.celery != NEWEST else set())
    locked = _uv(
        *("export", "--frozen", "--no-emit-project", "--no-hashes", "--no-annotate", "--no-header", "--extra", "dev"),
    )
    return [line for line in locked.splitlines() if re.split(r"[^\w.-]", line, maxsplit=1)[0] not in free]


def _uv(*arguments: str | Path) -> str:
    done = subprocess.run(
        [_UV, "--quiet", *arguments],
        check=False,
        cwd=ROOT,
        env={**os.environ, "UV_PYTHON_DOWNLOADS": "never"},
        capture_output=True,
        text=True,
    )
    if done.returncode:
        raise SetUpError(f"uv {arguments[0]} failed\n{done.stderr.strip()}")
    return done.stdout
