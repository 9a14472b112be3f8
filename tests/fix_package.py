"""The distribution: a wheel and an sdist, built once for the tests of a process."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.fix_bridge import ROOT, environment

UV = ROOT / ".uv" / "bin" / "uv"  # scripts/setup installs it


def call(*arguments: str | Path, cwd: Path, **more: str) -> str:
    env = {k: v for k, v in environment(**more).items() if k not in ("VIRTUAL_ENV", "PYTHONPATH")}
    done = subprocess.run(arguments, check=False, cwd=cwd, env=env, capture_output=True, text=True, timeout=110)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Returns a directory with the sdist and the wheel. The wheel is made from the sdist, which proves its content."""
    if not UV.exists():
        pytest.skip("uv is missing: run scripts/setup")
    directory = tmp_path_factory.mktemp("dist")
    call(UV, "build", "--quiet", "--python", sys.executable, "--out-dir", directory, ROOT, cwd=directory)
    return directory


@pytest.fixture(scope="session")
def wheel(built: Path) -> Path:
    [file] = built.glob("*.whl")
    return file
