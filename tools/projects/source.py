"""Source: gets a project's source distribution from the package registry, and a virtual environment for its tests."""

import json
import subprocess
import sys
import tarfile
import urllib.request
from pathlib import Path
from urllib.parse import urljoin

from tools.projects.project import Project

_INDEX = "https://pypi.org/simple"
_ACCEPT = "application/vnd.pypi.simple.v1+json"  # PEP 691


def unpacked(project: Project, folder: Path) -> Path:
    """Downloads the source distribution into the folder, and returns the folder that it unpacks to."""
    stem = f"{project.name.replace('-', '_')}-{project.version}"
    if not (folder / stem).is_dir():
        archive = folder / f"{stem}.tar.gz"
        archive.write_bytes(_get(_address(project, archive.name)))
        with tarfile.open(archive) as tar:
            tar.extractall(folder, filter="data")
    return folder / stem


def environment(project: Project, source: Path, folder: Path, root: Path) -> Path:
    """Makes a virtual environment with the project, what its tests need, and this package. Returns its Python."""
    place = folder / f"env-{project.name}"
    python = place / "bin" / "python"
    uv = str(root / ".uv" / "bin" / "uv")
    install = [uv, "pip", "install", "--quiet", "--compile-bytecode", "--python", str(python)]
    if not python.exists():
        subprocess.run([uv, "venv", "--quiet", "--python", sys.executable, str(place)], check=True)
        subprocess.run([*install, f"{source}{project.extras}", *project.needs], check=True)
    # This package may have changed since the last run.
    renew = ["--reinstall-package", "commit-bridge", f"{root}[django,redis]"]
    subprocess.run([*install, *renew], check=True)
    return python


def _address(project: Project, name: str) -> str:
    page = f"{_INDEX}/{project.name}/"
    files = json.loads(_get(page))["files"]
    return next(urljoin(page, str(file["url"])) for file in files if file["filename"] == name)


def _get(address: str) -> bytes:
    request = urllib.request.Request(address, headers={"Accept": f"{_ACCEPT}, */*;q=0.1"})
    with urllib.request.urlopen(request, timeout=60) as answer:
        content: bytes = answer.read()
    return content
