"""Server: what the private servers have in common. One runs while its `with` block does."""

from abc import ABC, abstractmethod
from types import TracebackType
from typing import Self


class Server(ABC):
    """Started when the block begins; gone with all its files when it ends."""

    @abstractmethod
    def start(self) -> None:
        """Until it answers."""

    @abstractmethod
    def close(self) -> None:
        """Stop, and remove everything."""

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
