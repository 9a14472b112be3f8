"""Run: one run of a project's own tests, with the bridge's app and its watches, or without."""

import os
import re
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from psycopg.conninfo import conninfo_to_dict

from tools.projects.project import Project

_SECONDS = 1200
_FAILED = re.compile(r"^(?:FAIL|ERROR): (\S+ \(.*?\))|^(?:FAILED|ERROR) (\S+)", re.MULTILINE)
_FOREIGN = ("BRIDGE_", "DJANGO_", "PYTHONDONTWRITEBYTECODE")  # the last one would compile every module in every run
_NUMBER = re.compile(r"Ran (\d+) tests|(\d+) passed")
_SETTINGS = """from {own} import *

DATABASES = {databases!r}
{bridge}"""
_BRIDGE = """INSTALLED_APPS = [*INSTALLED_APPS, "django_app"]
BRIDGE_WATCHES = {watches!r}
"""


class Result(NamedTuple):
    """What a run printed, in short."""

    tests: int
    failed: frozenset[str]
    seconds: float


def run(project: Project, python: Path, source: Path, dsn: str, bridged: bool, folder: Path) -> Result:
    """Runs the tests once. Raises RuntimeError, with the end of the output, if no test ran."""
    module = f"{'bridged' if bridged else 'plain'}_settings"
    settings = folder / f"settings-{project.name}"
    settings.mkdir(exist_ok=True)
    text = _SETTINGS.format(
        own=project.settings,
        databases={alias: _database(dsn, alias, project) for alias in project.aliases},
        bridge=_BRIDGE.format(watches=project.watches) if bridged else "",
    )
    (settings / f"{module}.py").write_text(text)
    place = source / project.folder
    started = time.monotonic()
    done = subprocess.run(
        [python, *(word.format(settings=module) for word in project.command)],
        cwd=place, env=_environment(project, [settings, place]), stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        text=True, timeout=_SECONDS, check=False,
    )  # fmt: skip
    seconds = time.monotonic() - started
    number = _NUMBER.search(done.stdout)
    if number is None:
        raise RuntimeError(f"{project.name}, {module}: no test ran\n{done.stdout[-3000:]}")
    failed = frozenset(first or second for first, second in _FAILED.findall(done.stdout))
    return Result(int(number[1] or number[2]), failed, seconds)


def _database(dsn: str, alias: str, project: Project) -> dict[str, object]:
    server = conninfo_to_dict(dsn)
    name = f"{project.name}_{alias}".replace("-", "_")
    return {
        "ENGINE": "django.db.backends.postgresql",
        "HOST": server["host"],
        "PORT": server["port"],
        "USER": server["user"],
        "NAME": "postgres",
        "TEST": {"MIRROR": "default"} if project.has_mirrors and alias != "default" else {"NAME": f"test_{name}"},
    }


def _environment(project: Project, folders: list[Path]) -> Mapping[str, str]:
    """Returns our environment with what the tests need, and without what would configure Django or the bridge."""
    own = {name: value for name, value in os.environ.items() if not name.startswith(_FOREIGN)}
    paths = os.pathsep.join(map(str, folders))
    return own | {"PYTHONPATH": paths, "PYTHONHASHSEED": "0", **dict(project.variables)}
