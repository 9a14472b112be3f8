"""Process tree: measures the cost of a process and all its children, from Linux's /proc."""

import os
from pathlib import Path
from types import TracebackType

from benchmarks.background import Background

_TICKS = os.sysconf("SC_CLK_TCK")


def tree(pid: int) -> list[int]:
    """Returns the process and all its descendants that still run."""
    found = [pid]
    for parent in found:
        try:
            tasks = list(Path(f"/proc/{parent}/task").iterdir())
            found += [int(child) for task in tasks for child in (task / "children").read_text().split()]
        except OSError:
            continue
    return found


def cpu_seconds(pid: int) -> float:
    """Returns the user and system time of the whole tree, in seconds."""
    total = 0
    for member in tree(pid):
        try:
            # The command's name may contain spaces and brackets. The numbers begin after the last bracket.
            fields = Path(f"/proc/{member}/stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue
        total += int(fields[11]) + int(fields[12])
    return total / _TICKS


class MemoryWatch(Background):
    """Watches a tree. `peak` is the sum of the largest resident memory of each of its processes, in bytes.

    It is an upper bound: the peaks need not coincide, and pages that processes share count in each of them.
    """

    def __init__(self, pid: int) -> None:
        super().__init__("memory")
        self._pid = pid
        self._peaks: dict[int, int] = {}

    @property
    def peak(self) -> int:
        return sum(self._peaks.values())

    @property
    def processes(self) -> int:
        """The number of processes that were seen."""
        return len(self._peaks)

    def run(self) -> None:
        while not self._done.wait(0.2):
            self.look()

    def look(self) -> None:
        for member in tree(self._pid):
            try:
                status = Path(f"/proc/{member}/status").read_text()
            except OSError:
                continue
            for line in status.splitlines():
                if line.startswith("VmHWM:"):
                    self._peaks[member] = int(line.split()[1]) * 1024

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.look()
        super().__exit__(kind, error, trace)
