"""Comparison: which publish of the old dispatch belongs to which recorded change.

A change is what one transaction did to one row. A publish in a transaction belongs to the change of this transaction;
any other publish to the newest change of its row before it that has none yet. This leaves as few changes without a
publish as the order of the times allows.
"""

from bisect import bisect_right
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import NamedTuple

from django_app.shadow.verdict import Verdict

HORIZON = timedelta(seconds=60)
"""A publish belongs to no change that is further away. It has to be longer than the project's transactions."""
_SKEW = timedelta(milliseconds=50)
"""How much the time of a publish may be wrong. It is computed from its age when it was noted."""


class Recorded(NamedTuple):
    """One event of the shadow watch."""

    key: list[object]
    statement: str | None
    at: datetime
    xid: str


class Published(NamedTuple):
    """One publish of the old dispatch."""

    args: list[object]
    at: datetime
    inside: bool
    xid: str | None
    place: str | None
    fate: str | None
    """What became of the transaction `xid`, as pg_xact_status says."""


@dataclass
class _Change:
    key: list[object]
    statement: str | None
    at: datetime
    xid: str
    events: int = 0
    publishes: list[Published] = field(default_factory=list)
    is_early: bool = False


def compare(verdict: Verdict, recorded: Iterable[Recorded], published: Iterable[Published]) -> None:
    """Fills the verdict with what is found since `verdict.since`. Both are given from HORIZON before that time."""
    changes = _changes(recorded)
    length = max((len(change.key) for change in changes), default=1)
    by_row: dict[str, list[_Change]] = {}
    for change in changes:
        by_row.setdefault(_name(change.key), []).append(change)
    # Those whose transaction is known come first: nothing is left to choose for them.
    for one in sorted(published, key=lambda one: (not one.inside, one.xid is None, one.at)):
        _place(verdict, one, length, by_row.get(_name(one.args[:length]), []))
    for change in changes:
        if verdict.since <= change.at <= verdict.until or (change.at >= verdict.since and change.publishes):
            _judge(verdict, change)


def _changes(recorded: Iterable[Recorded]) -> list[_Change]:
    found: dict[tuple[str, str], _Change] = {}
    for event in sorted(recorded, key=lambda event: event.at):
        name = (event.xid, _name(event.key))
        change = found.setdefault(name, _Change(event.key, event.statement, event.at, event.xid))
        change.events += 1
    return list(found.values())


def _name(values: list[object]) -> str:
    """Returns a name for the row. Celery's arguments may be text where the key is a number."""
    return repr([str(value) for value in values])


def _place(verdict: Verdict, one: Published, length: int, row: list[_Change]) -> None:
    """Finds the change that a publish belongs to. One that belongs to none is counted at once."""
    if one.fate == "in progress":
        return
    counts = one.at >= verdict.since
    verdict.publishes += counts
    change: _Change | None
    if one.fate == "aborted":
        change, kind = None, "rolled_back"
    elif one.xid is not None:
        change = next((change for change in row if change.xid == one.xid), None)
        kind = "needless" if one.fate == "committed" else "unknown"
    elif one.inside:
        change, kind = _after(row, one.at), "unknown"
    else:
        change, kind = _before(row, one.at), "needless"
    if change is not None:
        change.publishes.append(one)
        if one.inside:
            change.is_early = True
            if counts:
                verdict.add("early", one.place, change.key, one.at, one.xid)
    elif counts:
        verdict.add(kind, one.place, one.args[:length], one.at, one.xid)  # type: ignore[arg-type]


def _after(row: list[_Change], at: datetime) -> _Change | None:
    """Returns the next change without a publish: the transaction wrote the row after it had published."""
    return next((c for c in row if not c.publishes and -_SKEW <= c.at - at <= HORIZON), None)


def _before(row: list[_Change], at: datetime) -> _Change | None:
    """Returns the newest change before this time, if possible one that has no publish yet."""
    end = bisect_right(row, at + _SKEW, key=lambda change: change.at)
    near: _Change | None = None
    for change in reversed(row[:end]):
        if at - change.at > HORIZON:
            break
        if not change.publishes:
            return change
        near = near or change
    return near


def _judge(verdict: Verdict, change: _Change) -> None:
    verdict.changes += 1
    if not change.publishes:
        verdict.add("missed", change.statement, change.key, change.at, change.xid)
        return
    # A task that ran once after the commit has seen all that its transaction did.
    surplus = change.publishes[max(change.events, 1) :]
    for one in surplus:
        verdict.add("doubled", one.place, change.key, one.at, one.xid)
    verdict.equal += not (surplus or change.is_early)
