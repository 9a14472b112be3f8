"""A private directory. It is removed, and the processes that use it are ended, when we end for any reason.

A guard (a shell script of a few lines) waits for the end of a pipe whose other end only we hold. The pipe ends when we
close it, and also when we are killed with -9. Both cases take the same way of cleaning up, so every run tests it.
PDEATHSIG would work only on Linux, depend on the thread that started the child, be cleared by a change of user, and
leave the directory behind.
"""

import os
import shutil
import signal
import subprocess
import tempfile
from pathlib import Path
from types import TracebackType
from typing import Self

# Each line that the guard reads lists the running children as words SIGNAL:PROCESS-GROUP. The last line counts.
_GUARD = """
trap '' HUP INT TERM
children=
while read -r line; do children=$line; done
for child in $children; do kill -${child%:*} -${child#*:}; done
for child in $children; do
    tries=100
    while kill -0 -${child#*:} && [ $tries -gt 0 ]; do tries=$((tries - 1)); sleep 0.05; done
    kill -KILL -${child#*:}
done
rm -rf "$1"
"""
_ROOM = 1 << 30  # bytes: a container's /dev/shm may have 64 MB, but a cluster under some load needs hundreds of MB
_LONGEST_BASE = 70  # a socket's path has at most 107 bytes, on macOS 103; names of directory and socket need the rest
_REMOVAL = 30.0  # seconds


class PrivateDirectory:
    def __init__(self, base: Path | None = None) -> None:
        self.path = Path(tempfile.mkdtemp(prefix="bridge-", dir=base or _base()))
        self._children: dict[int, str] = {}
        self._guard = subprocess.Popen(
            ["/bin/sh", "-c", _GUARD, "bridge-guard", self.path],
            stdin=subprocess.PIPE,
            # Not our own outputs: a program that reads them to the end would wait for the guard.
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
            cwd="/",
            env={"PATH": "/usr/bin:/bin"},
        )

    def watch(self, group: int, last_signal: signal.Signals) -> None:
        """Makes the guard end this process group too: first with this signal, then with SIGKILL after five seconds."""
        self._children[group] = last_signal.name.removeprefix("SIG")
        self._tell()

    def forget(self, group: int) -> None:
        """Makes the guard forget a process group that has ended, since its number may soon belong to another."""
        if self._children.pop(group, None) is not None:
            self._tell()

    def remove(self) -> None:
        assert self._guard.stdin is not None
        self._guard.stdin.close()
        self._guard.wait(_REMOVAL)

    def _tell(self) -> None:
        stdin = self._guard.stdin
        assert stdin is not None
        if not stdin.closed:
            stdin.write(" ".join(f"{name}:{group}" for group, name in self._children.items()).encode() + b"\n")
            stdin.flush()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.remove()


def _base() -> Path:
    memory = Path("/dev/shm")
    if os.access(memory, os.W_OK) and shutil.disk_usage(memory).free > _ROOM:
        return memory
    usual = Path(tempfile.gettempdir())
    return usual if len(os.fsencode(usual)) <= _LONGEST_BASE else Path("/tmp")
