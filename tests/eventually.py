"""Waits for something that sends no notification, by looking every few milliseconds until a deadline."""

import time
from collections.abc import Callable


def eventually(true: Callable[[], bool], seconds: float = 20) -> bool:
    """Returns whether the condition became true in time. The caller asserts the result."""
    deadline = time.monotonic() + seconds
    while not true():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.01)
    return True
