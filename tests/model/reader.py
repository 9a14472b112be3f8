"""A relay that reads one stream: it reads windows, moves the position, and sometimes dies between the two."""

from contextlib import AbstractContextManager, ExitStack

from anyio.from_thread import BlockingPortal

from bridge.event import Event
from bridge.stream.event_log import EventLog


class Reader:
    def __init__(self, portal: BlockingPortal, dsn: str, stream: str, batch_size: int) -> None:
        self.delivered: list[Event] = []
        self._portal = portal
        self._dsn = dsn
        self._stream = stream
        self._batch_size = batch_size
        self._stack = ExitStack()
        self._log = self._start()

    def close(self) -> None:
        self._stack.close()

    def die(self) -> None:
        """Dies in the middle of a batch. The relay that takes over must read this batch again."""
        self._portal.call(self._log.read)
        self.close()
        self._log = self._start()

    def read(self) -> bool:
        """Reads and delivers one batch. Returns whether there was one."""
        batch = self._portal.call(self._log.read)
        if batch.events:
            self._portal.call(self._log.move, batch.position)
            self.delivered += batch.events
        return bool(batch.events)

    def drain(self) -> None:
        while self.read():
            pass

    def _start(self) -> EventLog:
        opened: AbstractContextManager[EventLog] = self._portal.wrap_async_context_manager(
            EventLog.open(self._dsn, self._stream, self._batch_size)
        )
        log = self._stack.enter_context(opened)
        self._portal.call(log.own)
        return log
