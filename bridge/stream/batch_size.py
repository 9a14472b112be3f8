"""Batch size: how many events are read, published and confirmed at once.

Large batches keep the broker busy. Small ones limit what a crash repeats, and how long a stop and other clients wait.
So a relay starts with small batches. While it has a backlog, its batches grow to what the broker confirms in a tenth of
a second.
"""

# Events in the first batch. A broker of usual speed confirms them in a few hundredths of a second.
_FIRST = 500
# Seconds that a batch may take.
_LONG = 0.1


class BatchSize:
    """The batch size of one relay. `now` is the largest number of events in the next batch."""

    def __init__(self, largest: int) -> None:
        self._first = min(_FIRST, largest)
        self.largest = largest
        self.now = self._first

    def learn(self, events: int, seconds: float) -> None:
        """Adapts the size to the time that a batch took. A batch that was not full is ignored: it shows no limit."""
        if events >= self.now:
            fitting = int(events * _LONG / seconds) if seconds > 0 else self.largest
            self.now = max(self._first, min(fitting, 2 * self.now, self.largest))
