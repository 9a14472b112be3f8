"""A private directory that is gone, with the processes that live in it, when we are gone, however we went.

A guard (a shell of a few lines) waits for the end of a pipe whose other end only we hold. The pipe ends when
we close it, and also when we are killed with -9: one way of cleaning up for both, so it is in use all the
time and can't rot. PDEATHSIG would be Linux only, bound to the thread that started the child, cleared by a
change of user, and would leave the directory.
"""

import os
import shutil
import signal
import subprocess
import tempfile
from pathlib import Path
from types import TracebackType
from typing import Self

# Each line that arrives lists the living children, as SIGNAL:PROCESS-GROUP words; the last one counts.
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
_ROOM = 1 << 30  # bytes: a container's /dev/shm may have 64 MB, a cluster with some load needs hundreds
_LONGEST_BASE = 70  # a socket's path has 107 bytes at most, macOS 103; its name and our directory's need the rest
_REMOVAL = 30.0  # seconds


class PrivateDirectory:
    def __init__(self, base: Path | None = None) -> None:
        self.path = Path(tempfile.mkdtemp(prefix="bridge-", dir=base or _base()))
        self._children: dict[int, str] = {}
        self._guard = subprocess.Popen(
            ["/bin/sh", "-c", _GUARD, "bridge-guard", self.path],
            stdin=subprocess.PIPE,
            # Not our own outputs: whoever reads them to the end would wait for the guard.
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
            cwd="/",
            env={"PATH": "/usr/bin:/bin"},
        )

    def watch(self, group: int, last_signal: signal.Signals) -> None:
        """The guard ends this process group too: with this signal first, with SIGKILL after five seconds."""
        self._children[group] = last_signal.name.removeprefix("SIG")
        self._tell()

    def forget(self, group: int) -> None:
        """The group has ended: its number may soon belong to somebody else."""
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
