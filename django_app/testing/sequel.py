"""Sequel: what follows a task that was called in a transaction, as a worker does it: its callbacks, the rest of its
chain, the callbacks of its error, and the body of its chord.

A worker starts all of that with messages. Here it runs at once.
"""

import traceback
from typing import Any, NamedTuple, Self

from celery import Celery
from celery.app.task import Context

from bridge.message import Message
from django_app.testing.chords import Chords

JOINER = "celery.chord_unlock"
"""The task with which some result backends wait for the members of a chord. Here nothing needs it."""


class Sequel(NamedTuple):
    """What is to follow one task."""

    app: Celery
    chords: Chords
    id: str
    callbacks: list[Any]
    errbacks: list[Any]
    chain: list[Any]
    """The signatures of the next tasks, the last one first, as Celery has them in a message."""
    chord: dict[str, Any] | None
    """The signature of the body, if this task is a member of a chord."""
    group: str
    """The group of the members of the chord."""

    @classmethod
    def of(cls, message: Message, app: Celery, chords: Chords) -> Self:
        """Returns what follows the task of a message."""
        said, embed = message.protocol, message.embed
        callbacks, errbacks, chain = (embed.get(name) or [] for name in ("callbacks", "errbacks", "chain"))
        return cls(app, chords, said.id, callbacks, errbacks, chain, embed.get("chord"), said.group or "")

    def expect(self) -> None:
        """Notes the member of a chord that this task or the last one of its chain is."""
        end = self._end()
        if end.chord:
            self.chords.expect(end.group, end.id)

    def succeed(self, value: Any) -> None:
        """Runs what follows when the task has returned a value. Raises what one of these tasks raises."""
        __tracebackhide__ = True
        for callback in self.callbacks:
            self.app.signature(callback).apply((value,), throw=True)
        if self.chain:
            *rest, following = self.chain
            self._go_on(following, value, rest)
        elif self.chord and (results := self.chords.join(self.group, self.id, value)) is not None:
            self._go_on(self.chord, results, [])

    def fail(self, error: Exception) -> None:
        """Runs the callbacks of an error: the task's own, and those of the body that will never run."""
        self._tell(error)
        if body := self._end().chord:
            self._after(body, [])._tell(error)

    def _go_on(self, signature: dict[str, Any], value: Any, rest: list[Any]) -> None:
        __tracebackhide__ = True
        sequel = self._after(signature, rest)
        try:
            value = self.app.signature(signature).apply((value,), throw=True).get(disable_sync_subtasks=False)
        except Exception as error:
            sequel.fail(error)
            raise
        sequel.succeed(value)

    def _after(self, signature: dict[str, Any], chain: list[Any]) -> Self:
        """Returns what follows the task of a signature. Celery itself calls the callbacks that a signature has."""
        options = signature.get("options", {})
        errbacks = options.get("link_error") or []
        return self._replace(
            id=options.get("task_id", ""),
            callbacks=[],
            errbacks=errbacks if isinstance(errbacks, list) else [errbacks],
            chain=chain,
            chord=options.get("chord"),
            group=options.get("group_id", ""),
        )

    def _end(self) -> Self:
        """Returns what follows the last task of the chain."""
        return self._after(self.chain[0], []) if self.chain else self

    def _tell(self, error: Exception) -> None:
        """Lets Celery call the errbacks: those with several arguments get the request, the error and its traceback."""
        request = Context(id=self.id, root_id=self.id, errbacks=self.errbacks, delivery_info={"is_eager": True})
        trace = "".join(traceback.format_exception(error))
        self.app.backend.mark_as_failure(self.id, error, trace, request=request, store_result=False)
