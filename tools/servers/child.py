"""A child process that ends when we end, logs to a file and may run as another user."""

import os
import pwd
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from tools.servers.directory import PrivateDirectory

# The child waits for a line from us, so that it never runs before its guard knows it. If we die first, it reads the
# end of the pipe and ends.
_GO = 'read -r go && exec "$@" </dev/null'
_KILL_SECONDS = 10.0
_POLL_SECONDS = 0.01
_TAIL = 20  # log lines in an error


class StartError(Exception):
    """A server did not start. The message ends with the last lines of its log."""


class Child:
    def __init__(
        self,
        argv: Sequence[str | Path],
        directory: PrivateDirectory,
        *,
        log: Path,
        user: str | None = None,
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
        last_signal: signal.Signals = signal.SIGKILL,
    ) -> None:
        """`last_signal` is the signal that the guard sends when we are gone. `user` needs root."""
        self.name = Path(argv[0]).name
        self.log = log
        self._directory = directory
        with log.open("ab") as output:
            self._process = subprocess.Popen(
                ["/bin/sh", "-c", _GO, self.name, *argv],
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # its own process group: Ctrl-C reaches only us, and we then stop the child
                cwd=cwd or directory.path,
                env=env,
                user=user,
                group=None if user is None else pwd.getpwnam(user).pw_gid,
                extra_groups=None if user is None else [],
            )
        directory.watch(self.pid, last_signal)
        assert self._process.stdin is not None
        self._process.stdin.write(b"go\n")
        self._process.stdin.close()

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def running(self) -> bool:
        return self._process.poll() is None

    def wait(self, seconds: float) -> int:
        """Waits for the end and returns the exit status; raises TimeoutError if it still runs after these seconds."""
        try:
            status = self._process.wait(seconds)
        except subprocess.TimeoutExpired as error:
            raise TimeoutError(f"{self.name} is still running after {seconds:g} s") from error
        self._directory.forget(self.pid)
        return status

    def wait_until(self, ready: Callable[[], bool], seconds: float) -> None:
        """Asks `ready` every few milliseconds, since nothing announces that a server has opened its socket."""
        deadline = time.monotonic() + seconds
        while not ready():
            if not self.running:
                raise StartError(f"{self.name} ended with status {self.wait(0)}\n{self.tail()}")
            if time.monotonic() > deadline:
                raise StartError(f"{self.name} is not ready after {seconds:g} s\n{self.tail()}")
            time.sleep(_POLL_SECONDS)

    def send(self, number: signal.Signals) -> None:
        if self.running:
            os.killpg(self.pid, number)

    def freeze(self) -> None:
        """Stops the child until it gets SIGCONT. Returns when it has stopped: it may run on for a moment after the
        signal was sent."""
        self.send(signal.SIGSTOP)
        os.waitid(os.P_PID, self.pid, os.WSTOPPED | os.WEXITED | os.WNOWAIT)

    def stop(self, number: signal.Signals = signal.SIGTERM, seconds: float = 20.0) -> int:
        """Sends the signal, then SIGKILL if the child still runs after these seconds; returns the exit status."""
        self.send(number)
        try:
            return self.wait(seconds)
        except TimeoutError:
            return self.kill()

    def kill(self) -> int:
        self.send(signal.SIGKILL)
        return self.wait(_KILL_SECONDS)

    def tail(self) -> str:
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-_TAIL:])
