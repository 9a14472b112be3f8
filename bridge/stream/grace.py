"""Grace: the time that steps have to finish after a stop was requested."""

from collections.abc import Iterator
from contextlib import contextmanager
from math import inf

import anyio
import anyio.lowlevel


class Grace:
    """Shields steps from a stop. Without a stop they have no limit."""

    def __init__(self) -> None:
        self._deadline = inf
        self._scope = anyio.CancelScope()
        self.gave_up = False
        """Whether a batch in flight was given up at the end of the grace period. It will be published again."""

    def end_within(self, seconds: float) -> None:
        """Limits the time of the step that runs now, and of all later ones together."""
        self._deadline = self._scope.deadline = anyio.current_time() + seconds

    @contextmanager
    def shield(self) -> Iterator[None]:
        """Lets the block finish, or be given up as a whole, when a stop comes in the middle."""
        with anyio.CancelScope(shield=True, deadline=self._deadline) as self._scope:
            yield

    async def sleep_until(self, time: float) -> None:
        """Waits in the middle of a batch. After a stop the batch goes on at its pace, until the grace period ends."""
        with self.shield(), self.giving_up():
            await anyio.sleep_until(time)
        if self._scope.cancelled_caught:
            await anyio.lowlevel.checkpoint()

    @contextmanager
    def giving_up(self) -> Iterator[None]:
        """Notes that the block was given up. It may have published a part of a batch."""
        try:
            yield
        except anyio.get_cancelled_exc_class():
            self.gave_up = True
            raise
