"""Backoff: how long to wait before the next try."""

import random


class Backoff:
    """Exponential backoff with full jitter, in seconds.

    The source of "full jitter" is Marc Brooker, "Exponential Backoff And Jitter", AWS Architecture Blog, 2015: many
    clients that lost the same server must not come back in step.
    """

    def __init__(self, first: float = 0.1, cap: float = 10.0) -> None:
        self._first = first
        self._cap = cap
        self._tries = 0

    def next(self) -> float:
        """Seconds to wait now; the range doubles with each call up to the cap."""
        # The exponent is bounded, or a day of retries would overflow a float.
        ceiling = min(self._cap, self._first * 2 ** min(self._tries, 32))
        self._tries += 1
        return random.uniform(ceiling / 2, ceiling)  # noqa: S311 - jitter, no secret

    def reset(self) -> None:
        """Called after a success: the next wait is short again."""
        self._tries = 0
