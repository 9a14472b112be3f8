"""Block: a `with` block whose events are read when it ends. `async with` works too."""

from abc import ABC, abstractmethod
from collections.abc import Iterable
from types import TracebackType
from typing import Generic, TypeVar

from asgiref.sync import sync_to_async

from bridge.event import Event
from django_app.testing.beginning import of_this_test
from django_app.testing.log import Log, Mark, open_log

T = TypeVar("T")


class Block(ABC, Generic[T]):
    """Gives a list, which is filled when the block ends without an error."""

    def __init__(self, using: str | None = None) -> None:
        self._using = using
        self._found: list[T] = []
        self._log: Log | None = None
        self._mark = Mark()

    def __enter__(self) -> list[T]:
        __tracebackhide__ = True
        self._found = []
        self._log = open_log(self._using)
        if self._log is not None:
            of_this_test(self._log.connection.alias)  # raises an error if the kit was imported too late
            self._begin(self._log)
            self._mark = self._log.mark()
        return self._found

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        __tracebackhide__ = True
        if self._log is not None:
            self._end(self._log)
            if kind is None:
                events, mark = self._log.after(self._mark)
                self._found.extend(self._finish(self._log, events, mark))

    async def __aenter__(self) -> list[T]:
        __tracebackhide__ = True
        return await sync_to_async(self.__enter__)()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        __tracebackhide__ = True
        await sync_to_async(self.__exit__)(kind, error, traceback)

    def _begin(self, log: Log) -> None:
        """Is called before the block."""

    def _end(self, log: Log) -> None:
        """Is called after the block, also when it failed."""

    @abstractmethod
    def _finish(self, log: Log, events: list[Event], mark: Mark) -> Iterable[T]:
        """Returns what the list is filled with, from the events of the block. The mark is after them."""
