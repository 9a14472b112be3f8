"""Verdict: what was found about the old dispatch of one watch."""

from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal

Kind = Literal["missed", "doubled", "early", "rolled_back", "needless", "unknown"]

MEANINGS: dict[Kind, str] = {
    "missed": "changes that the old way missed",
    "doubled": "publishes too many for their change",
    "early": "published before the commit",
    "rolled_back": "published for a rollback",
    "needless": "published without a change that the watch sees",
    "unknown": "published in a transaction of which too little is known",
}
EXAMPLES = 5
"""The most examples of each kind."""


@dataclass
class Example:
    """One case. Those with the same cause, a statement or a line of code, are counted as one example."""

    cause: str | None
    """The client's statement for a change that was missed, otherwise file and line that published."""
    key: list[object]
    at: datetime
    xid: str | None
    count: int = 1


@dataclass
class Verdict:
    """The comparison of one watch, of the changes and publishes since a time."""

    watch: str
    task: str
    since: datetime
    until: datetime
    """Younger changes are not judged: their publish may still be on its way."""
    changes: int = 0
    """A change is what one transaction did to one row."""
    equal: int = 0
    """Changes with the right number of publishes, all after the commit."""
    missed: int = 0
    publishes: int = 0
    doubled: int = 0
    early: int = 0
    rolled_back: int = 0
    needless: int = 0
    unknown: int = 0
    is_cut: bool = False
    """Whether there was more than is read at once; then only the newest was compared, since a later time."""
    is_full: bool = False
    """Whether the table of notes is full. Then what is published now is not noted, and its changes look missed."""
    examples: dict[Kind, list[Example]] = field(default_factory=dict)

    @property
    def is_equal(self) -> bool:
        """Whether the old way published exactly what the watch would start, and nothing too early."""
        return self.changes == self.equal and not (self.doubled or self.rolled_back or self.needless or self.unknown)

    def add(self, kind: Kind, cause: str | None, key: list[object], at: datetime, xid: str | None) -> None:
        """Counts one case."""
        setattr(self, kind, getattr(self, kind) + 1)
        examples = self.examples.setdefault(kind, [])
        for example in examples:
            if example.cause == cause:
                example.count += 1
                return
        if len(examples) < EXAMPLES:
            examples.append(Example(cause, key, at, xid))
