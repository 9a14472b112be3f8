"""The real command `bridge run`, as a child process that a test stops, kills and starts again."""

import json
import os
import signal
import sys
from collections.abc import Iterator, Mapping
from contextlib import closing
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import pytest

from tests.eventually import eventually
from tools.servers import Child, PrivateDirectory

BRIDGE = Path(sys.executable).with_name("bridge")
ROOT = Path(__file__).parent.parent


def environment(**more: str) -> dict[str, str]:
    """Returns our environment without the variables that would configure a bridge."""
    return {k: v for k, v in os.environ.items() if not k.startswith("BRIDGE_") and k != "DATABASE_URL"} | more


class Bridge:
    """`bridge run` with one set of options. Each start has its own log."""

    def __init__(
        self,
        directory: PrivateDirectory,
        name: str,
        database_url: str,
        options: tuple[str, ...],
        env: Mapping[str, str],
    ) -> None:
        self._directory = directory
        self._name = name
        self._argv: list[str | Path] = [BRIDGE, "run", "--http=127.0.0.1:0", "--log-format=json", *options]
        self._env = environment(BRIDGE_DATABASE_URL=database_url, **env)
        self._logs: list[Path] = []
        self._child: Child | None = None
        self._port = 0

    @property
    def child(self) -> Child:
        assert self._child is not None, "this bridge is not running"
        return self._child

    @property
    def running(self) -> bool:
        return self._child is not None and self._child.running

    def start(self, state: str | None = "running") -> None:
        """Starts the bridge and waits until the stream `default` is in this state. None: until HTTP answers."""
        log = self._directory.path / f"{self._name}-{len(self._logs)}.log"
        # Celery looks for an app in the working directory, and would find the tests' own app from the checkout.
        self._child = Child(self._argv, self._directory, log=log, env=self._env, cwd=ROOT)
        self._logs.append(log)
        self._child.wait_until(lambda: any(line["message"] == "http" for line in self.lines()), 30)
        self._port = next(line["port"] for line in self.lines() if line["message"] == "http")
        if state is not None:
            self.wait_for(state)

    def get(self, path: str) -> str:
        """Returns the HTTP answer."""
        with closing(HTTPConnection("127.0.0.1", self._port, timeout=5)) as connection:
            connection.request("GET", path)
            return connection.getresponse().read().decode()

    def states(self) -> dict[str, str]:
        """Returns the state of each stream from /readyz."""
        states: dict[str, str] = json.loads(self.get("/readyz"))["streams"]
        return states

    def gauge(self, name: str, stream: str = "default") -> float:
        """Returns the value that Prometheus would read."""
        with closing(HTTPConnection("127.0.0.1", self._port, timeout=5)) as connection:
            connection.request("GET", "/metrics")
            lines = connection.getresponse().read().decode().splitlines()
        [value] = [line.split()[1] for line in lines if line.startswith(f'{name}{{stream="{stream}"}} ')]
        return float(value)

    def wait_for(self, state: str, stream: str = "default", seconds: float = 30) -> None:
        def there() -> bool:
            try:
                return self.states().get(stream) == state
            except OSError:
                # The last lines of its output show the reason.
                assert not eventually(lambda: not self.running, 5), f"the bridge ended\n{self.child.tail()}"
                raise

        assert eventually(there, seconds), f"not {state!r} after {seconds:g} s: {self.states()}\n{self.child.tail()}"

    def said(self, message: str) -> bool:
        """Whether a line of the log since the last start has this message."""
        return any(line["message"] == message for line in self.lines())

    def stop(self, number: signal.Signals = signal.SIGTERM) -> int:
        """Stops the bridge and returns the exit status. Fails if the bridge has to be killed."""
        child, self._child = self.child, None
        child.send(number)
        return child.wait(20)

    def kill(self) -> None:
        """Sends SIGKILL: the bridge finishes nothing and notifies nobody."""
        child, self._child = self.child, None
        child.kill()

    def peak_memory(self) -> int:
        """Returns the largest resident size of the process so far, in bytes."""
        for line in Path(f"/proc/{self.child.pid}/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
        raise AssertionError("/proc shows no VmHWM")

    def lines(self) -> list[dict[str, Any]]:
        """Returns the log since the last start. Every complete line must be JSON."""
        complete, _, _ = self._logs[-1].read_text().rpartition("\n")
        return [json.loads(line) for line in complete.splitlines()]

    def log(self) -> str:
        """Returns the logs of all starts."""
        return "".join(log.read_text() for log in self._logs)


class Bridges:
    """Starts bridges and ends them with the test."""

    def __init__(self) -> None:
        self._directory = PrivateDirectory()
        self._started: list[Bridge] = []

    def __call__(
        self,
        database_url: str,
        *options: str,
        broker_url: str | None = None,
        state: str | None = "running",
        env: Mapping[str, str] | None = None,
    ) -> Bridge:
        if broker_url is not None:
            options = ("--broker-url", broker_url, *options)
        bridge = Bridge(self._directory, f"bridge-{len(self._started)}", database_url, options, env or {})
        self._started.append(bridge)
        bridge.start(state)
        return bridge

    def close(self) -> None:
        for bridge in self._started:
            if bridge.running:
                bridge.kill()
        logs = "".join(bridge.log() for bridge in self._started)
        self._directory.remove()
        assert "Traceback" not in logs, logs
        assert "Warning" not in logs, logs


@pytest.fixture
def run_bridge() -> Iterator[Bridges]:
    """`run_bridge(database.dsn, broker_url=broker.url)` starts a bridge and waits until it serves."""
    bridges = Bridges()
    yield bridges
    bridges.close()
