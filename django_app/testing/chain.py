"""Chain: runs tasks, and then the tasks of what these have written, until nothing is left."""

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass

from bridge.call import without_own_writes
from bridge.event import Event
from django_app.testing.beginning import of_this_test
from django_app.testing.captured import CapturedTask, captured_tasks_of
from django_app.testing.errors import EndlessChainError
from django_app.testing.log import Log, Mark

DEEPEST = 20
"""The length of the longest chain. A bridge with the worker's integration ends chains there too."""


@dataclass(frozen=True)
class _Step:
    task: CapturedTask
    cause: "_Step | None"
    """The step whose task wrote the rows that start this one."""

    def path(self) -> list[CapturedTask]:
        return [*(self.cause.path() if self.cause else []), self.task]


def follow(log: Log, events: Iterable[Event], mark: Mark) -> list[CapturedTask]:
    """Runs the tasks of these events in order, then those of what was written after the mark. Returns all of them."""
    __tracebackhide__ = True
    done = of_this_test(log.connection.alias).done
    waiting = deque(_steps(log, events, None, done))
    ran: list[CapturedTask] = []
    while waiting:
        step = waiting.popleft()
        ran.append(step.task)
        step.task()
        written, mark = log.after(mark)
        waiting.extend(_steps(log, written, step, done))
    return ran


def _steps(log: Log, events: Iterable[Event], cause: _Step | None, done: set[int]) -> list[_Step]:
    __tracebackhide__ = True
    fresh = without_own_writes([event for event in events if event.id not in done], log.targets.ignoring)
    if fresh and cause is not None and len(path := cause.path()) >= DEEPEST:
        raise EndlessChainError(_complaint(path))
    return [_Step(task, cause) for task in captured_tasks_of(fresh, log)]


def _complaint(path: list[CapturedTask]) -> str:
    last = path[-1]
    # The circle begins at the last task that was called alike, or else at the last one of the same watch.
    for alike in (lambda task: (task.name, task.args) == (last.name, last.args), lambda task: task.name == last.name):
        begin = max((place for place, task in enumerate(path[:-1]) if alike(task)), default=None)
        if begin is not None:
            break
    circle = path[begin or 0 :]
    advice = (
        "Each of them writes a row whose watch starts the next one. Let the watch name `columns` that the task does "
        "not write, or a condition that its writes do not meet, or let the task write only what differs "
        "(docs/howto/my-task-never-stops.md)."
    )
    steps = [f"  {task}  started by watch {task.event.watch or '-'}, {task.event.op}" for task in circle]
    said = f"The tasks start each other without end. {DEEPEST} followed each other, and the last ones form this circle:"
    return "\n".join([said, *steps, advice])
