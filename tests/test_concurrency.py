"""Concurrent steps: which of them end, which are cancelled, and which error arrives."""

import anyio
import anyio.lowlevel
import pytest

from bridge.concurrency import alongside, in_thread, race, task_group, together
from bridge.errors import BrokerError, DatabaseError

pytestmark = pytest.mark.anyio


async def fail() -> None:
    raise DatabaseError("away")


class Slow:
    """A step that never ends by itself and notes that it was cancelled."""

    def __init__(self) -> None:
        self.cancelled = False
        self.began = anyio.Event()

    async def __call__(self) -> None:
        self.began.set()
        try:
            await anyio.sleep_forever()
        except anyio.get_cancelled_exc_class():
            self.cancelled = True
            raise


async def test_together_runs_all_to_their_ends_and_raises_the_first_error() -> None:
    failed, done = anyio.Event(), []

    async def fails_first() -> None:
        failed.set()
        raise BrokerError("away")

    async def ends_later() -> None:
        await failed.wait()
        await anyio.lowlevel.checkpoint()
        done.append("ends_later")

    async def fails_later() -> None:
        await failed.wait()
        raise DatabaseError("away")

    with pytest.raises(BrokerError, match="away"):
        await together(fails_first, ends_later, fails_later)
    assert done == ["ends_later"]


async def test_race_ends_with_the_first_step_and_cancels_the_others() -> None:
    slow = Slow()
    await race(slow.began.wait, slow)
    assert slow.cancelled


async def test_race_raises_the_error_of_a_step_that_failed() -> None:
    slow = Slow()

    async def fails() -> None:
        await slow.began.wait()
        raise DatabaseError("away")

    with pytest.raises(DatabaseError, match="away"):
        await race(slow, fails)
    assert slow.cancelled


async def test_alongside_ends_with_the_block() -> None:
    slow = Slow()
    async with alongside(slow):
        await slow.began.wait()
    assert slow.cancelled


async def test_alongside_an_error_of_the_step_ends_the_block() -> None:

    async def block() -> None:
        async with alongside(fail):
            await anyio.sleep_forever()

    with pytest.raises(DatabaseError, match="away"):
        await block()


async def test_alongside_an_error_of_the_block_ends_the_step() -> None:
    slow = Slow()

    async def block() -> None:
        async with alongside(slow):
            await slow.began.wait()
            raise BrokerError("away")

    with pytest.raises(BrokerError, match="away"):
        await block()
    assert slow.cancelled


async def test_alongside_a_step_that_ends_early_leaves_the_block_alone() -> None:
    ended = anyio.Event()

    async def end() -> None:
        ended.set()

    async with alongside(end):
        await ended.wait()
        await anyio.lowlevel.checkpoint()


async def test_nested_task_groups_raise_the_plain_error() -> None:
    async def block() -> None:
        async with task_group() as outer, task_group() as inner:
            outer.start_soon(anyio.sleep_forever)
            inner.start_soon(fail)

    with pytest.raises(DatabaseError, match="away"):
        await block()


async def test_a_cancellation_from_outside_is_not_an_error() -> None:
    slow = Slow()
    with anyio.CancelScope() as scope:
        async with alongside(slow):
            await slow.began.wait()
            scope.cancel()
            await anyio.sleep_forever()
    assert scope.cancelled_caught
    assert slow.cancelled


async def test_a_blocking_step_runs_in_a_thread() -> None:
    assert await in_thread(lambda: 7) == 7
    with pytest.raises(BrokerError, match="away"):
        await in_thread(_raise)


def _raise() -> None:
    raise BrokerError("away")
