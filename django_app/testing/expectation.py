"""Expectations: assert_starts() and assert_starts_nothing(), around the code under test."""

from collections.abc import Iterable, Mapping
from typing import Any

from bridge.event import Event
from django_app.database import alias, aliases
from django_app.declarations.declaration import NamedTask
from django_app.testing.block import Block
from django_app.testing.captured import CapturedEvent, captured_event, shown
from django_app.testing.equality import same_call
from django_app.testing.errors import TestingError
from django_app.testing.explanation import declared, home_of, listed, reasons
from django_app.testing.log import Log, Mark
from django_app.testing.statements import Statements


class _Starts(Block[CapturedEvent]):
    def __init__(self, task: NamedTask | str, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> None:
        self._task = _name(task)
        super().__init__(home_of(self._task))
        self._args = args
        self._kwargs = dict(kwargs)
        self._statements = Statements()

    def _begin(self, log: Log) -> None:
        log.connection.execute_wrappers.append(self._statements)

    def _end(self, log: Log) -> None:
        log.connection.execute_wrappers.remove(self._statements)

    def _finish(self, log: Log, events: list[Event], mark: Mark) -> Iterable[CapturedEvent]:
        __tracebackhide__ = True
        captured = [captured_event(event, log) for event in events]
        found = [event for event in captured if event.refusal is None and self._is_meant(event)]
        if not found:
            wanted = shown(self._task, self._args, self._kwargs) if self._args or self._kwargs else self._task
            why = reasons(self._task, captured, log, self._statements)
            raise AssertionError("\n".join([f"{wanted} was not started.", *listed(captured), *why]))
        return found

    def _is_meant(self, event: CapturedEvent) -> bool:
        if self._task not in (event.task, event.watch):
            return False
        is_any = not self._args and not self._kwargs
        return is_any or same_call(self._args, self._kwargs, event.args, event.kwargs)


class _StartsNothing(Block[CapturedEvent]):
    def __init__(self, task: NamedTask | str | None, using: str | None) -> None:
        self._task = None if task is None else _name(task)
        super().__init__(using or (None if self._task is None else home_of(self._task)))

    def _begin(self, log: Log) -> None:
        __tracebackhide__ = True
        _require_watches(self._task, log)

    def _finish(self, log: Log, events: list[Event], mark: Mark) -> Iterable[CapturedEvent]:
        __tracebackhide__ = True
        captured = [captured_event(event, log) for event in events]
        shadows = log.targets.shadows
        found = [
            event for event in captured if self._task in (None, event.task, event.watch) and event.watch not in shadows
        ]
        if found:
            what = "Something" if self._task is None else self._task
            raise AssertionError("\n".join([f"{what} was started.", *listed(found)]))
        return []


def assert_starts(task: NamedTask | str, *args: Any, **kwargs: Any) -> Block[CapturedEvent]:
    """Asserts that a block starts this task with exactly these arguments, at least once, whatever else it starts.

        with assert_starts(reprice, product.pk):
            product.save()

    `task` is a Celery task, its full name, or the name of a watch. Without arguments, any arguments count. The block
    gives the list of the events that start it. It looks into the database that has the task's watches. In an async
    test, write `async with`.
    """
    return _Starts(task, args, kwargs)


def assert_starts_nothing(task: NamedTask | str | None = None, *, using: str | None = None) -> Block[CapturedEvent]:
    """Asserts that a block starts no task, or that it does not start this task.

    `using` is the alias of a database; the default is the one that has the task's watches. It raises TestingError where
    it would prove nothing: the watches are not in the database, or nobody says which of several databases is meant.
    """
    if task is None and using is None and len(aliases()) > 1:
        raise TestingError(
            f"BRIDGE_DATABASE names several databases: {', '.join(aliases())}. Say which one is meant, as in "
            f"assert_starts_nothing(using='{alias()}')."
        )
    return _StartsNothing(task, using)


def _name(task: NamedTask | str) -> str:
    name = task if isinstance(task, str) else getattr(task, "name", None)
    if not isinstance(name, str):
        raise TestingError(f"{task!r} is not a Celery task. Pass the task itself, its full name, or a watch's name.")
    return name


def _require_watches(task: str | None, log: Log) -> None:
    __tracebackhide__ = True
    there = {name for watch in log.watches if watch.installed for name in (watch.name, watch.task)}
    ours = declared()
    # Every task of the project may be sent. But if a watch should start this one, its watch must be there.
    watched = {watch.task for watch, _ in ours.values()}
    if task is not None and (task in there or (task in log.targets.sendable and task not in watched)):
        return
    if task is None and (not ours or ours.keys() & there):
        return
    why = reasons(task, [], log, Statements()) if task is not None else _missing(ours)
    raise TestingError("\n".join(["This assertion would prove nothing.", *why]))


def _missing(ours: Mapping[str, Any]) -> Iterable[str]:
    yield (
        f"The project declares {len(ours)} watches, and the database has none of them: run `manage.py migrate`; a test "
        "database that was kept needs one run without --keepdb (with pytest: --create-db)."
    )
