"""Python: finds an interpreter of a version on this machine."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

_ASK = "import sys, venv, ensurepip; print('%d.%d' % sys.version_info[:2])"


def find(version: str) -> Path | None:
    """Returns BRIDGE_PYTHON if it has the version, else one in PATH, else one of pyenv. It must have venv."""
    return next((path for path in _candidates(version) if _version(path) == version), None)


def _candidates(version: str) -> Iterator[Path]:
    for name in (os.environ.get("BRIDGE_PYTHON"), f"python{version}", "python3"):
        if name and (found := shutil.which(name)):
            yield Path(found)
    # pyenv's shims in PATH work only for versions that are activated, so look in its folder too.
    root = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv")
    yield from sorted(root.glob(f"versions/{version}.*/bin/python{version}"), reverse=True)


def _version(path: Path) -> str | None:
    done = subprocess.run([path, "-c", _ASK], check=False, capture_output=True, text=True, timeout=60)
    return done.stdout.strip() if done.returncode == 0 else None
