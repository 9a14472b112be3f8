"""Bridge: `bridge run` as a child process, seen only from outside: its options, log, /readyz and exit code."""

import os
import signal
import subprocess
import sys
from contextlib import closing, suppress
from datetime import datetime
from functools import cache
from http.client import HTTPConnection
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import msgspec

from tools.servers import Child, PrivateDirectory

_START_SECONDS = 60.0
_COMMAND = (sys.executable, "-m", "bridge", "run")
_ROOT = Path(__file__).parent.parent


class Bridge:
    """A bridge that can be started inside its context, killed, and started again."""

    def __init__(self, dsn: str, broker_url: str, *options: str) -> None:
        self._argv = [*_COMMAND, "--database-url", dsn, "--broker-url", broker_url, "--log-format=json"]
        self._argv += ["--http=127.0.0.1:0", *options]
        self._directory = PrivateDirectory()
        self._starts = 0
        self._child: Child | None = None

    @property
    def pid(self) -> int:
        return self.child.pid

    @property
    def child(self) -> Child:
        assert self._child is not None, "this bridge does not run"
        return self._child

    def start(self, *states: str) -> None:
        """Starts the bridge and waits until every stream is in one of these states (by default `running`)."""
        self._starts += 1
        env = {name: value for name, value in os.environ.items() if not name.startswith("BRIDGE_")}
        log = self._directory.path / f"log-{self._starts}"
        self._child = Child(self._argv, self._directory, log=log, env=env, cwd=_ROOT)
        self._child.wait_until(lambda: self._in(states or ("running",)), _START_SECONDS)

    def served_at(self) -> float:
        """Returns when this bridge began to serve the last stream, as time.time() counts."""
        return max(datetime.fromisoformat(line["at"]).timestamp() for line in self.lines("serving"))

    def lines(self, message: str) -> list[dict[str, Any]]:
        """Returns the log's lines with this message, since the last start."""
        complete, _, _ = self.child.log.read_text().rpartition("\n")
        # Some lines are not ours: libraries may write to standard error directly.
        lines = [msgspec.json.decode(line) for line in complete.splitlines() if line.startswith("{")]
        return [line for line in lines if line["message"] == message]

    def states(self) -> dict[str, str]:
        """Returns the state of each stream as /readyz reports it; empty before it answers."""
        http = self.lines("http")
        if not http:
            return {}
        with closing(HTTPConnection("127.0.0.1", http[0]["port"], timeout=5)) as connection:
            connection.request("GET", "/readyz")
            states: dict[str, str] = msgspec.json.decode(connection.getresponse().read())["streams"]
            return states

    def kill(self) -> None:
        """Sends SIGKILL to the process alone, as `kill -9` does. Its children must notice that by themselves."""
        os.kill(self.pid, signal.SIGKILL)

    def bury(self) -> None:
        """Ends the processes that are left after a kill."""
        with suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)
        self.child.kill()
        self._child = None

    def _in(self, states: tuple[str, ...]) -> bool:
        found = self.states()
        return bool(found) and set(found.values()) <= set(states)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._child is not None:
            self._child.stop(seconds=40)
        self._directory.remove()


@cache
def knows(flag: str) -> bool:
    """Whether `bridge run` has this flag. Runs with an older bridge omit flags that it does not know."""
    return flag in subprocess.run([*_COMMAND, "--help"], check=True, capture_output=True, text=True).stdout


def publishers(number: int | None) -> tuple[str, ...]:
    """Returns the options for this number of publishers; without a number, none."""
    return () if number is None else (f"--publishers={number}",)
