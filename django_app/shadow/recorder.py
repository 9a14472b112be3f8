"""Recorder: notes publishes in the database, in a thread of its own, so that no publish waits or fails because of it.

The thread has its own connection, and each of its statements commits at once: a record survives the rollback of the
transaction in which the task was published.
"""

import atexit
import json
import logging
import os
from contextlib import closing
from queue import Empty, Full, Queue
from threading import Event, Lock, Thread

from django.db import DataError, connections

from bridge.database.statement import statement
from django_app.shadow.publish import Publish

logger = logging.getLogger(__name__)

_NOTE = statement("note_publishes", "django_app")
_MOST = 10_000
"""The most records that wait in a process. Further ones are lost, and a warning says so."""
_TOGETHER = 500
_GATHERING = 0.2
"""Seconds between two statements, in which records are gathered."""
_LAST = 5.0
"""Seconds that a process has for its last records when it ends."""


class Recorder:
    """The records of one process that wait to be written."""

    def __init__(self) -> None:
        self._waiting: Queue[Publish] = Queue(_MOST)
        self._ending = Event()
        self._lock = Lock()
        self._thread: Thread | None = None
        self._warned = False

    def note(self, publish: Publish) -> None:
        """Takes a record. It never waits."""
        try:
            self._waiting.put_nowait(publish)
        except Full:
            self._warn("too many publishes at once")
            return
        if self._thread is None:
            self._start()

    def flush(self) -> None:
        """Waits until all records are written, or could not be written."""
        if self._thread is not None:
            self._waiting.join()

    def _start(self) -> None:
        with self._lock:
            if self._thread is None:
                self._thread = Thread(target=self._run, name="bridge shadow", daemon=True)
                self._thread.start()
                atexit.register(self._end)

    def _end(self) -> None:
        self._ending.set()
        if self._thread is not None:
            self._thread.join(_LAST)

    def _run(self) -> None:
        while not self._ending.is_set() or not self._waiting.empty():
            try:
                part = [self._waiting.get(timeout=_GATHERING)]
            except Empty:
                continue
            self._ending.wait(_GATHERING)
            while len(part) < _TOGETHER and not self._waiting.empty():
                part.append(self._waiting.get_nowait())
            for using in {publish.using for publish in part}:
                self._write(using, [publish for publish in part if publish.using == using])
            for _ in part:
                self._waiting.task_done()

    def _write(self, using: str, part: list[Publish]) -> None:
        try:
            # This thread's own connection. One that stays open would block the removal of a test's database.
            with closing(connections[using]) as connection, connection.cursor() as cursor:
                cursor.execute(_NOTE, {"publishes": json.dumps([publish.row() for publish in part])})
            self._warned = False
        except DataError as error:
            # JSON in PostgreSQL can't hold every text. One such argument costs only its own record.
            if len(part) == 1:
                self._warn(str(error))
            for publish in part if len(part) > 1 else ():
                self._write(using, [publish])
        except Exception as error:
            self._warn(str(error))

    def _warn(self, reason: str) -> None:
        if not self._warned:
            logger.warning("shadow mode could not note publishes; its report will call them missed: %s", reason)
        self._warned = True


recorder = Recorder()


def _renew() -> None:
    """A forked process has no thread, and the records that waited belong to its parent."""
    global recorder  # noqa: PLW0603 - the one recorder of this process
    recorder = Recorder()


def note(publish: Publish) -> None:
    """Notes a publish with this process's recorder."""
    recorder.note(publish)


os.register_at_fork(after_in_child=_renew)
