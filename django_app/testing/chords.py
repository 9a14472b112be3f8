"""Chords: which tasks a chord waits for, and what they have returned.

A result backend counts them for a worker. A test has none, but it has all messages of a chord in the log.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Part:
    """One task, or one group at the end of a chain, that a chord waits for."""

    chord: str
    """The id of the group that is the chord's header."""
    id: str
    index: int | None
    body: Mapping[str, Any]


@dataclass
class _Chord:
    parts: dict[str, Part] = field(default_factory=dict)
    values: dict[str, Any] = field(default_factory=dict)
    errors: dict[str, Exception] = field(default_factory=dict)

    @property
    def is_ready(self) -> bool:
        return self.parts.keys() <= self.values.keys() | self.errors.keys()


class Chords:
    """The chords of one test."""

    def __init__(self) -> None:
        self._chords: dict[str, _Chord] = {}

    def expect(self, signature: Mapping[str, Any]) -> None:
        """Notes the part of each chord that this signature is, also of the chords around its chord."""
        for part in parts_of(signature):
            self._chords.setdefault(part.chord, _Chord()).parts[part.id] = part
            self.expect(part.body)

    def returned(self, part: Part, value: Any, error: Exception | None) -> list[Any] | Exception | None:
        """Notes what a part has returned. Returns the values of all, or the first error, once the chord is complete."""
        chord = self._chords[part.chord]
        was_ready = chord.is_ready
        if error is None:
            chord.values[part.id] = value
        else:
            chord.errors[part.id] = error
        if was_ready or not chord.is_ready:
            return None
        if chord.errors:
            return next(iter(chord.errors.values()))
        ordered = sorted(chord.parts.values(), key=lambda part: (part.index is None, part.index))
        return [chord.values[part.id] for part in ordered]


def parts_of(signature: Mapping[str, Any]) -> Iterator[Part]:
    """Yields the parts of chords whose value is the value of this signature."""
    options, kwargs = signature.get("options") or {}, signature.get("kwargs") or {}
    if rest := options.get("chain"):
        yield from parts_of(rest[0])
    elif options.get("chord") and options.get("group_id"):
        yield Part(options["group_id"], str(options["task_id"]), options.get("group_index"), options["chord"])
    elif signature.get("subtask_type") == "chain" and kwargs.get("tasks"):
        yield from parts_of(kwargs["tasks"][-1])
    elif signature.get("subtask_type") == "chord" and kwargs.get("body"):
        yield from parts_of(kwargs["body"])
