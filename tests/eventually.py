"""Waiting for what announces itself to nobody: a bounded look every few milliseconds."""

import time
from collections.abc import Callable


def eventually(true: Callable[[], bool], seconds: float = 20) -> bool:
    """Whether it became true in time; to be asserted."""
    deadline = time.monotonic() + seconds
    while not true():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.01)
    return True
