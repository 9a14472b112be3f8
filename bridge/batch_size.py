"""Batch size: how many events are read, published and confirmed at once.

Between two batches the broker has nothing to do, so many are quick; but as many are published again after a crash, and
a stop and the broker's other customers wait for them. So a relay begins with few, and in a backlog goes up to what the
broker takes in a tenth of a second.
"""

# Events. At the broker's usual speed that is some hundredths of a second.
_FIRST = 500
# Seconds.
_LONG = 0.1


class BatchSize:
    """Of one relay; `now` is the most events of the next batch."""

    def __init__(self, largest: int) -> None:
        self._first = min(_FIRST, largest)
        self._largest = largest
        self.now = self._first

    def learn(self, events: int, seconds: float) -> None:
        """A batch of so many events was delivered in that time; one that was not full tells nothing."""
        if events >= self.now:
            fitting = int(events * _LONG / seconds) if seconds > 0 else self._largest
            self.now = max(self._first, min(fitting, 2 * self.now, self._largest))
