"""Concurrency: steps that run at the same time, whose errors arrive as they were raised.

anyio's task groups put errors into exception groups. Callers in this package handle each kind of error in its own way
(a database that is away, a broker that is away, an invalid configuration), so they need the error itself.
"""

from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any, TypeVar

import anyio
import anyio.to_thread
from anyio.abc import TaskGroup

T = TypeVar("T")
Step = Callable[[], Coroutine[Any, Any, object]]


@asynccontextmanager
async def task_group() -> AsyncIterator[TaskGroup]:
    """A task group of anyio that raises the error of the task, or of the block, that failed first."""
    failure: Exception | None = None
    try:
        async with anyio.create_task_group() as group:
            yield group
    except* Exception as errors:
        failure = _first(errors)
    if failure is not None:
        raise failure


async def together(*steps: Step) -> None:
    """Runs all steps concurrently to their ends, also if one fails. Then raises the error of the first that failed."""
    failures: list[Exception] = []

    async def run(step: Step) -> None:
        try:
            await step()
        except Exception as error:
            failures.append(error)

    async with anyio.create_task_group() as group:
        for step in steps:
            group.start_soon(run, step)
    if failures:
        raise failures[0]


async def race(*steps: Step) -> None:
    """Runs the steps concurrently until the first one ends, and cancels the others. Raises its error if it failed."""
    async with task_group() as group:

        async def contend(step: Step) -> None:
            await step()
            group.cancel_scope.cancel()

        for step in steps:
            group.start_soon(contend, step)


@asynccontextmanager
async def alongside(step: Step) -> AsyncIterator[None]:
    """Runs a step while the block runs. The step ends with the block, and an error of the step ends the block."""
    async with task_group() as group:
        group.start_soon(step)
        yield
        group.cancel_scope.cancel()


async def in_thread(step: Callable[[], T]) -> T:
    """Runs a blocking step in a thread. If the caller is cancelled, the step goes on there and its result is lost."""
    return await anyio.to_thread.run_sync(step, abandon_on_cancel=True)


def _first(errors: BaseExceptionGroup[Exception]) -> Exception:
    inner = errors.exceptions[0]
    return _first(inner) if isinstance(inner, BaseExceptionGroup) else inner
