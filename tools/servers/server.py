"""Server: the base class of the private servers. A server runs while its `with` block runs."""

from abc import ABC, abstractmethod
from types import TracebackType
from typing import Self


class Server(ABC):
    """A server that starts when the block begins, and is removed with all its files when the block ends."""

    @abstractmethod
    def start(self) -> None:
        """Starts the server and waits until it answers."""

    @abstractmethod
    def close(self) -> None:
        """Stops the server and removes all its files."""

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
