"""Pace: limits how many tasks start per second while a backlog is delivered, to spare the workers."""

from math import ceil

from bridge.batch import Batch

# Seconds. An older event had to wait: for the broker, for the database, or for a bridge to run.
_BACKLOG = 5.0


class Pace:
    """The rate of --catch-up-rate. It counts tasks: after coalescing, each event of a batch is one task."""

    def __init__(self, rate: float | None) -> None:
        """`rate` is in tasks per second. None: no limit."""
        self._rate = rate

    def shortest(self, batch: Batch) -> float:
        """Returns the seconds that this batch must take at least."""
        return len(batch.events) / self._rate if self._rate and batch.age > _BACKLOG else 0.0

    def together(self, batch: Batch) -> int:
        """Returns how many events of this batch are published together: one second's tasks, or all."""
        return ceil(self._rate or 0) if self.shortest(batch) else max(1, len(batch.events))
