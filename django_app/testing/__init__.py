"""The testing kit: shows and runs, inside an ordinary TestCase, what committed changes would start.

Import it at the top of a module of tests, since it notes where each test begins.
"""

from django_app.testing.block import Block
from django_app.testing.captured import CapturedEvent, CapturedTask
from django_app.testing.errors import EndlessChainError, TestingError
from django_app.testing.expectation import assert_starts, assert_starts_nothing
from django_app.testing.kit import arun_bridge, captured_events, captured_tasks, run_bridge

__all__ = [
    "Block",
    "CapturedEvent",
    "CapturedTask",
    "EndlessChainError",
    "TestingError",
    "arun_bridge",
    "assert_starts",
    "assert_starts_nothing",
    "captured_events",
    "captured_tasks",
    "run_bridge",
]
