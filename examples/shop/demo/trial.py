"""The trials after the race: each puts one promise of the bridge to the test, with the real processes."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

from demo.edit import Way
from demo.stack import Stack

SECONDS = 30.0
RAISE = "update catalog_product set price = price + 1 where id = any(%s)"


@dataclass(frozen=True)
class Trial:
    name: str
    done: str
    """What was done, for a person."""
    kept: bool
    found: str
    """What was seen, for a person."""


def trials(stack: Stack) -> Sequence[Callable[[], Trial]]:
    """Returns the trials, in order. Each takes a few seconds."""
    return [
        partial(_rollback, stack),
        partial(_sql, stack),
        partial(_killed_bridge, stack),
        partial(_broker_away, stack),
    ]


def _rollback(stack: Stack) -> Trial:
    observer = stack.observer
    products = observer.products(Way.BRIDGE)
    undone, marker = products[0], products[-1]
    before = observer.count(Way.BRIDGE)
    with observer.transaction() as transaction:
        transaction.execute(RAISE, [[undone]])
        transaction.rollback()
    # Events of one stream are delivered in order: after the marker's task, a task of the rollback would be there too.
    observer.execute(RAISE, [[marker]])
    seen = observer.wait_for({marker}, SECONDS)
    tasks = observer.count(Way.BRIDGE) - before
    kept = seen == {marker} and tasks == 1
    return Trial("rollback", "a change of a price was rolled back", kept, f"{tasks - 1} tasks of it started")


def _sql(stack: Stack) -> Trial:
    return _all_tasks(stack, "sql", "UPDATE of all products in SQL: no save(), no signal", lambda: None)


def _killed_bridge(stack: Stack) -> Trial:
    def begin() -> None:
        stack.freeze_bridge()

    def end() -> None:
        stack.restart_bridge()

    done = "kill -9 of the bridge after the commit, before it published"
    return _all_tasks(stack, "killed_bridge", done, begin, end)


def _broker_away(stack: Stack) -> Trial:
    done = "the broker was away during the commit, and came back"
    return _all_tasks(stack, "broker_away", done, stack.valkey.stop, stack.valkey.start)


def _all_tasks(
    stack: Stack, name: str, done: str, begin: Callable[[], None], end: Callable[[], None] = lambda: None
) -> Trial:
    """Changes all products between `begin` and `end`, and waits for the task of each."""
    products = set(stack.observer.products(Way.BRIDGE))
    begin()
    try:
        stack.observer.execute(RAISE, [list(products)])
    finally:
        end()
    seen = stack.observer.wait_for(products, SECONDS)
    return Trial(name, done, seen == products, f"{len(seen)} of {len(products)} tasks started")
