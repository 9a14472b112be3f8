"""Background: a thread that works while a `with` block runs."""

from threading import Event, Thread
from types import TracebackType
from typing import Self


class Background(Thread):
    """A thread that starts when the block begins. `_done` is set when the block ends; `run` must then return."""

    def __init__(self, name: str) -> None:
        super().__init__(name=name, daemon=True)
        self._done = Event()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._done.set()
        self.join()
