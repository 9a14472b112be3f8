"""Pace: a writer that commits numbered changes at a steady rate, and records when each was committed."""

import time
from collections.abc import Callable
from types import TracebackType

import psycopg

from benchmarks.background import Background


class Pace(Background):
    """A thread that makes changes at fixed times. A late change does not delay the next ones."""

    def __init__(self, change: Callable[[int], float], rate: float, first: int = 1) -> None:
        """`change` commits the change with the given number, and returns the time.time() of the commit."""
        super().__init__("pace")
        self.committed: dict[int, float] = {}
        self._change = change
        self._rate = rate
        self._next = first
        self._error: BaseException | None = None

    def run(self) -> None:
        started = time.monotonic()
        count = 0
        try:
            while not self._done.is_set():
                self.committed[self._next] = self._change(self._next)
                self._next += 1
                count += 1
                self._done.wait(max(0.0, started + count / self._rate - time.monotonic()))
        except psycopg.Error as error:
            self._error = error

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        super().__exit__(kind, error, trace)
        if self._error is not None and error is None:
            raise self._error


def inserting(conn: psycopg.Connection, table: str = "item") -> Callable[[int], float]:
    """Returns a change that inserts a row. The connection belongs to the pace from now on."""
    sql = f"insert into {table} (id) values (%s)".encode()

    def change(number: int) -> float:
        conn.execute(sql, [number])
        return time.time()

    return change
