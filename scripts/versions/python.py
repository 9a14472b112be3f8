"""Python: where this machine has an interpreter of a version."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

_ASK = "import sys, venv, ensurepip; print('%d.%d' % sys.version_info[:2])"


def find(version: str) -> Path | None:
    """The one of BRIDGE_PYTHON if it fits, then one of PATH, then one of pyenv; it must have venv."""
    return next((path for path in _candidates(version) if _version(path) == version), None)


def _candidates(version: str) -> Iterator[Path]:
    for name in (os.environ.get("BRIDGE_PYTHON"), f"python{version}", "python3"):
        if name and (found := shutil.which(name)):
            yield Path(found)
    # A shim of pyenv in PATH runs nothing unless the version is switched on.
    root = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv")
    yield from sorted(root.glob(f"versions/{version}.*/bin/python{version}"), reverse=True)


def _version(path: Path) -> str | None:
    done = subprocess.run([path, "-c", _ASK], check=False, capture_output=True, text=True, timeout=60)
    return done.stdout.strip() if done.returncode == 0 else None
