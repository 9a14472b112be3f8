"""The app works in a project that has no other apps."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.fix_bridge import ROOT, environment
from tests.fix_postgres import Database, on_pg18

PROJECT = """
import sys
import django
from django.conf import settings
from django.core.management import call_command
from shop.settings import database

settings.configure(DATABASES={"default": database(sys.argv[1])}, INSTALLED_APPS=["django_app"], USE_TZ=True)
django.setup()
call_command("check", fail_level="WARNING")
call_command("migrate", verbosity=0)
call_command("makemigrations", check=True, dry_run=True, verbosity=0)

from django_app.models import Watch

assert not Watch.objects.exists()
print([name for name in sys.modules if name.startswith("django.contrib.")])
"""


@on_pg18
def test_the_app_needs_nothing_but_its_own_name_in_installed_apps(empty_database: Database) -> None:
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", PROJECT, empty_database.dsn],
        check=False,
        cwd=ROOT,
        env=environment(PYTHONPATH=str(ROOT / "examples" / "shop")),
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "[]", "the app must import no other app of Django"


@pytest.mark.parametrize("name", ["bridge.py", "bridge/__init__.py"])
def test_a_project_with_a_package_of_our_name_is_told_so(tmp_path: Path, name: str) -> None:
    file = tmp_path / name
    file.parent.mkdir(exist_ok=True)
    file.touch()
    done = subprocess.run(
        [sys.executable, "-c", "import django_app"],
        check=False,
        cwd=tmp_path,
        env=environment(PYTHONPATH=f"{tmp_path}:{ROOT}"),
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.stderr.splitlines()[-1].endswith(
        f"Python finds {file} under the name bridge, which Commit Bridge needs for its own package; rename yours"
    )
