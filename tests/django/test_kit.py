"""The testing kit inside the test runs of a sample project: tests/django/kit_cases.py has the cases."""

import re
import subprocess
import sys
from collections.abc import Callable, Iterator

import pytest
from psycopg.conninfo import make_conninfo

from tests.fix_bridge import ROOT, environment
from tests.fix_postgres import Database, PgServer, on_pg18

pytestmark = on_pg18

CASES = "tests.django.kit_cases"
Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def run(empty_database: Database, pg_server: PgServer) -> Iterator[Run]:
    """Runs a module of Python in the sample project, with its own test databases."""
    other = f"{empty_database.name}_other"

    def run(*arguments: str, **env: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-W", "error", "-m", *arguments],
            check=False,
            cwd=ROOT,
            env=environment(
                PYTHONPATH=f"{ROOT / 'examples' / 'shop'}:{ROOT}",
                DJANGO_SETTINGS_MODULE="tests.django.kit_settings",
                SHOP_DATABASE_URL=make_conninfo(empty_database.dsn),
                SHOP_BROKER_URL="memory://",
                KIT_OTHER=other,
                **env,
            ),
            capture_output=True,
            text=True,
            timeout=100,
        )

    yield run
    databases = pg_server.admin.execute(
        "select datname from pg_database where datname like %s or datname like %s",
        [f"test\\_{empty_database.name}%", f"{other}%"],
    )
    for (name,) in databases.fetchall():
        pg_server.drop(name)


def ran(done: subprocess.CompletedProcess[str]) -> int:
    """Returns the number of tests that Django's runner has run, all of them successfully."""
    found = re.search(r"Ran (\d+) tests?", done.stderr)
    assert found, done.stderr
    assert done.returncode == 0, done.stderr
    return int(found[1])


def test_with_the_runner_of_django(run: Run) -> None:
    manage = ("django", "test", "--keepdb", "--noinput", CASES)
    # Django's flush creates rows that the next serialized test would load again, so they have runs of their own.
    assert ran(run(*manage, "--exclude-tag", "serialized", "--exclude-tag", "unwatched")) > 60
    assert ran(run(*manage, "--tag", "serialized")) == 5
