"""scripts/matrix: which combinations exist, and what it does if a Python is missing."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.fix_bridge import ROOT, environment
from tools.matrix import python
from tools.matrix.combination import DJANGOS, PYTHONS, combinations, newest


def matrix(*arguments: str, **more: str) -> subprocess.CompletedProcess[str]:
    """Runs the script's part after the set-up of .venv, which it must not change below a running test."""
    return subprocess.run(
        [sys.executable, "-m", "tools.matrix", *arguments],
        check=False,
        env=environment(PYTHONPATH=str(ROOT), **more),
        capture_output=True,
        text=True,
        timeout=60,
    )


@pytest.fixture
def without_pythons(tmp_path: Path) -> dict[str, str]:
    """Returns the environment of a machine without these Pythons, neither in PATH nor from pyenv."""
    return {"PATH": str(tmp_path), "PYENV_ROOT": str(tmp_path)}


def test_every_version_that_the_package_names_is_tried() -> None:
    project = (ROOT / "pyproject.toml").read_text()
    assert set(re.findall(r'"Programming Language :: Python :: (3\.\d+)"', project)) == set(PYTHONS)
    assert set(re.findall(r'"Framework :: Django :: ([\d.]+)"', project)) == set(DJANGOS)
    readme = (ROOT / "README.md").read_text()
    assert "Python 3.11, 3.12 or 3.13" in readme
    assert "Django 5.2, 6.0 or 6.1" in readme


def test_a_django_is_tried_only_on_pythons_that_it_supports() -> None:
    names = [each.name for each in combinations()]
    assert len(names) == len(set(names)) == 14
    assert [name for name in names if name.startswith("python3.11")] == [
        "python3.11-django5.2-celery5.5",
        "python3.11-django5.2-celerynewest",
    ]
    assert newest().name == names[-1] == "python3.13-django6.1-celerynewest"


def test_arguments_choose_a_part() -> None:
    done = matrix("--list", "--python", "3.12", "--django", "6.1")
    assert done.stdout.split() == ["python3.12-django6.1-celery5.5", "python3.12-django6.1-celerynewest"]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--python", "3.11", "--django", "6.1"), "Django 6.0 and 6.1 need Python 3.12"),
        (("--newest", "--django", "6.1"), "leave out --python, --django and --celery"),
        (("--python", "3.9"), "'3.9' is not one of '3.11', '3.12', '3.13'"),
    ],
)
def test_what_is_not_there_is_one_sentence(arguments: tuple[str, ...], said: str) -> None:
    done = matrix(*arguments)
    assert done.returncode == 2
    assert said in done.stderr


@pytest.mark.parametrize(("require", "status"), [("", 0), ("all", 1)])
def test_an_absent_python_is_told_and_fails_where_all_is_required(
    without_pythons: dict[str, str], require: str, status: int
) -> None:
    done = matrix("--newest", BRIDGE_TEST_REQUIRE=require, **without_pythons)
    assert done.returncode == status, done.stderr
    assert "python3.13-django6.1-celerynewest: no such Python on this machine" in done.stderr


def test_a_python_of_pyenv_is_found_without_its_shim(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    directory = tmp_path / "versions" / f"{version}.99" / "bin"
    directory.mkdir(parents=True)
    program = directory / f"python{version}"
    program.write_text(f"#!/bin/sh\nexec '{sys.executable}' \"$@\"\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("PYENV_ROOT", str(tmp_path))
    monkeypatch.delenv("BRIDGE_PYTHON", raising=False)
    assert python.find(version) == program
    assert python.find("3.9") is None
