"""Chords: the results of the members of each chord, until all of them are there.

A worker finds them in the result backend. A test has none, or one that other tests use too.
"""

from typing import Any

_MISSING = object()


class Chords:
    """The chords of one test, by the id of the group that their members form."""

    def __init__(self) -> None:
        self._results: dict[str, dict[str, Any]] = {}

    def expect(self, group: str, member: str) -> None:
        """Notes a member by the id of its task: all of them in the order of the chord, before one of them runs."""
        self._results.setdefault(group, {}).setdefault(member, _MISSING)

    def join(self, group: str, member: str, value: Any) -> list[Any] | None:
        """Adds the result of a member. Returns the results in order if it was the last one, else None."""
        results = self._results[group]
        results[member] = value
        if any(result is _MISSING for result in results.values()):
            return None
        del self._results[group]
        return list(results.values())
