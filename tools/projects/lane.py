"""Lane: a processor of its own, with a PostgreSQL server of its own on it.

Two lanes run the two kinds of one comparison at the same time. A machine that becomes slower for a while, as shared
ones do, then makes both slower by the same factor, and their ratio stays.
"""

import os
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType
from typing import Self, TypeVar

from tools.servers import Postgres

_Answer = TypeVar("_Answer")


class Lane:
    """Runs calls one after the other. The calls, what they start, and the server stay on one processor."""

    def __init__(self, processor: int) -> None:
        self._processor = processor
        self._thread = ThreadPoolExecutor(max_workers=1, initializer=self._stay)
        self._server = Postgres()

    def __enter__(self) -> Self:
        self._thread.submit(self._server.__enter__).result()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._thread.submit(self._server.__exit__, kind, error, trace).result()
        self._thread.shutdown()

    def start(self, call: Callable[[str], _Answer]) -> Future[_Answer]:
        """Starts a call with the DSN of the lane's server."""
        return self._thread.submit(call, self._server.dsn("postgres"))

    def _stay(self) -> None:
        # On Linux this binds the calling thread, and child processes inherit it.
        os.sched_setaffinity(0, {self._processor})


def processors() -> tuple[int, int]:
    """Returns the numbers of two processors that we may use; twice the same if there is only one."""
    usable = sorted(os.sched_getaffinity(0))
    return usable[0], usable[-1]
