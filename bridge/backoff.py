"""Backoff: how long to wait before the next try."""

import random


class Backoff:
    """Exponential backoff with full jitter, in seconds.

    Many clients that lost the same server must not all come back at the same moment. Source of "full jitter": Marc
    Brooker, "Exponential Backoff And Jitter", AWS Architecture Blog, 2015.
    """

    def __init__(self, first: float = 0.1, cap: float = 10.0) -> None:
        self._first = first
        self._cap = cap
        self._tries = 0

    def next(self) -> float:
        """Returns the seconds to wait now. The range doubles with each call, up to the cap."""
        # Without a bound on the exponent, a day of retries would overflow a float.
        ceiling = min(self._cap, self._first * 2 ** min(self._tries, 32))
        self._tries += 1
        return random.uniform(ceiling / 2, ceiling)  # noqa: S311 - jitter is not a secret

    def reset(self) -> None:
        """Makes the next wait short again. To be called after a success."""
        self._tries = 0
