"""Environment: a virtual environment of one combination. All other packages have the versions of uv.lock."""

import os
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from tools.matrix.combination import NEWEST, Combination

ROOT = Path(__file__).parents[2]
HOME = ROOT / ".matrix"

_UV = ROOT / ".uv" / "bin" / "uv"  # scripts/setup installs it
# Packages that Celery depends on: each release of Celery works only with some of their versions.
_CELERY = frozenset({"celery", "kombu", "billiard", "vine", "amqp", "redis"})
_MADE = "made-of.txt"


class SetUpError(Exception):
    """The environment could not be made. The message ends with uv's error."""


@dataclass(frozen=True)
class Environment:
    directory: Path

    def program(self, name: str) -> Path:
        return self.directory / "bin" / name

    def variables(self) -> dict[str, str]:
        """Returns variables for programs in it, with the checkout's paths and without those of our own environment."""
        kept = {name: value for name, value in os.environ.items() if name not in ("VIRTUAL_ENV", "PYTHONPATH")}
        return kept | {"PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'examples' / 'shop'}"}


def make(combination: Combination, python: Path) -> Environment:
    """Makes the environment, or returns that of an earlier run if its requirements have not changed."""
    made = Environment(HOME / combination.name)
    requirements = [f"--editable={ROOT}[dev]", f"django~={combination.django}.0"]
    if combination.celery != NEWEST:
        requirements.append(f"celery~={combination.celery}.0")
    constraints = _constraints(combination)
    # pyproject.toml is part of the requirements: it has the project's dependencies and scripts.
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
    """Returns the requirements of uv.lock, without the packages that the combination chooses."""
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
