"""The kit's functions that capture and run: captured_events(), captured_tasks(), run_bridge()."""

from collections.abc import Iterable

from asgiref.sync import sync_to_async

from bridge.event import Event
from django_app.testing.beginning import of_this_test
from django_app.testing.block import Block
from django_app.testing.captured import CapturedEvent, CapturedTask, captured_event, captured_tasks_of
from django_app.testing.chain import follow
from django_app.testing.log import START, Log, Mark, open_log


class _Events(Block[CapturedEvent]):
    def _finish(self, log: Log, events: list[Event], mark: Mark) -> Iterable[CapturedEvent]:
        return [captured_event(event, log) for event in events]


class _Tasks(Block[CapturedTask]):
    def __init__(self, using: str | None, execute: bool) -> None:
        super().__init__(using)
        self._execute = execute

    def _finish(self, log: Log, events: list[Event], mark: Mark) -> Iterable[CapturedTask]:
        __tracebackhide__ = True
        return follow(log, events, mark) if self._execute else captured_tasks_of(events, log)


def captured_events(*, using: str | None = None) -> Block[CapturedEvent]:
    """Captures the events that a block writes. The list is filled when the block ends.

        with captured_events() as events:
            product.save()
        assert events[0].new["price"] == "12.00"

    `using` is the alias of a database; the default is BRIDGE_DATABASE. In an async test, write `async with`.
    """
    return _Events(using)


def captured_tasks(*, using: str | None = None, execute: bool = False) -> Block[CapturedTask]:
    """Captures the tasks that a block starts, as Django's captureOnCommitCallbacks() captures callbacks.

    Each can be called. With `execute`, they run when the block ends, and so do the tasks that they start in turn.
    """
    return _Tasks(using, execute)


def run_bridge(*, using: str | None = None, include_test_data: bool = False) -> list[CapturedTask]:
    """Runs the tasks of everything that this test has written and that has not been run yet.

    It runs them in order with the arguments that a worker would get, then those of the rows that they write. It returns
    all of them. A task's exception is raised here, and another `run_bridge()` runs the tasks after it. With
    `include_test_data`, the rows of `setUpTestData` and `fixtures` count too.
    """
    __tracebackhide__ = True
    log = open_log(using)
    if log is None:
        return []
    beginning = of_this_test(log.connection.alias)
    events, mark = log.after(START if include_test_data else beginning.mark)
    return follow(log, events, mark)


arun_bridge = sync_to_async(run_bridge)
"""run_bridge() for async tests: `await arun_bridge()`."""
