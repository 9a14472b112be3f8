"""Check: runs the demo or tests in an environment and records how they ended."""

import json
import re
import subprocess
import time
from collections.abc import Mapping
from dataclasses import dataclass

from tools.matrix.environment import ROOT, Environment

_TAIL = 40  # log lines that are shown after a failure


@dataclass(frozen=True)
class Outcome:
    passed: bool
    said: str  # the result in a few words, for the table
    seconds: float
    tail: str  # the end of the log if it failed


@dataclass(frozen=True)
class Check:
    name: str
    arguments: tuple[str, ...]
    """The arguments of the Python interpreter."""

    def run(self, environment: Environment) -> Outcome:
        log = environment.directory / f"{self.name}.log"
        began = time.monotonic()
        with log.open("w") as output:
            done = subprocess.run(
                [environment.program("python"), *self.arguments],
                check=False,
                cwd=ROOT,
                env=environment.variables(),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
            )
        lines = log.read_text(errors="replace").splitlines()
        tail = "" if done.returncode == 0 else "\n".join([f"{log}:", *lines[-_TAIL:]])
        return Outcome(done.returncode == 0, _said(lines), time.monotonic() - began, tail)


# The tests whose outcome depends on the version of Django or Celery. scripts/test runs them too.
_DJANGO = ("tests/django", "tests/test_compose.py")
_CELERY = ("tests/publisher", "tests/end_to_end/test_app.py", "tests/end_to_end/test_task.py", "tests/cli/test_run.py")


def _tests(name: str, paths: tuple[str, ...]) -> Check:
    return Check(name, ("-m", "pytest", "-q", "-n", "2", "--dist", "worksteal", "-p", "no:cacheprovider", *paths))


CHECKS: Mapping[str, Check] = {
    check.name: check
    for check in (
        Check("demo", ("-m", "demo", "--check", "--json")),
        _tests("django", _DJANGO),
        _tests("celery", _CELERY),
    )
}


def _said(lines: list[str]) -> str:
    """Returns the result from the last line, which is JSON from the demo and "81 passed in 13.81s" from pytest."""
    last = lines[-1] if lines else "nothing"
    try:
        verdict = json.loads(last)
        return f"{verdict['bridge_stale']} of {verdict['edits']} stale"
    except (ValueError, TypeError, KeyError):
        return re.sub(r" in [\d.]+s\b.*", "", last.strip("= "))
