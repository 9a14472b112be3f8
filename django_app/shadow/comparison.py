"""Comparison: which publish of the old dispatch belongs to which recorded change.

A change is what one transaction did to one row, as all watches of one task saw it. A publish in a transaction belongs
to the change of this transaction; any other publish to the newest change of its row before it that has none yet. This
leaves as few changes without a publish as the order of the times allows.
"""

from bisect import bisect_right
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import NamedTuple

from django_app.shadow.arguments import row_name
from django_app.shadow.verdict import Verdict

HORIZON = timedelta(seconds=60)
"""A publish belongs to no change that is further away. It has to be longer than the project's transactions."""
_SKEW = timedelta(milliseconds=50)
"""How much the time of a publish may be wrong. It is computed from its age when it was noted."""
_LATE = timedelta(milliseconds=500)
"""How much too late it may be in a process that is busy, since the age is older when PostgreSQL reads it."""


class Recorded(NamedTuple):
    """One event of a shadow watch."""

    watch: str
    key: list[object]
    statement: str | None
    at: datetime
    xid: str


class Published(NamedTuple):
    """One publish of the old dispatch, or a task that was sent in a transaction."""

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
    at: datetime
    xid: str
    statements: dict[str, str | None] = field(default_factory=dict)
    """The first statement that each watch saw, by the watch's name."""
    events: int = 0
    publishes: list[Published] = field(default_factory=list)
    is_early: bool = False


class _Row(NamedTuple):
    changes: list[_Change]
    key: list[object]


def compare(verdicts: Mapping[str, Verdict], recorded: Iterable[Recorded], published: Iterable[Published]) -> None:
    """Fills the verdicts of the watches of one task, by their names, with what is found since `verdict.since`. Events
    and publishes are given from HORIZON before that time."""
    changes = _changes(recorded)
    # A key of each length that there is shows how the arguments name a row. A TRUNCATE has no key.
    shapes = {len(change.key): change.key for change in changes if change.key}
    by_row: dict[tuple[str, ...], list[_Change]] = {}
    for change in changes:
        by_row.setdefault(row_name(change.key, change.key), []).append(change)

    def row(args: list[object]) -> _Row:
        for length, like in shapes.items():
            if found := by_row.get(row_name(args[:length], like)):
                return _Row(found, args[:length])
        return _Row([], args[: max(shapes, default=1)])

    # Those whose transaction is known come first: nothing is left to choose for them.
    for one in sorted(published, key=lambda one: (not one.inside, one.xid is None, one.at)):
        _place(verdicts, one, row(one.args))
    for change in changes:
        for watch, statement in change.statements.items():
            _judge(verdicts[watch], change, statement)


def _changes(recorded: Iterable[Recorded]) -> list[_Change]:
    found: dict[tuple[str, tuple[str, ...]], _Change] = {}
    for event in sorted(recorded, key=lambda event: event.at):
        name = (event.xid, row_name(event.key, event.key))
        change = found.setdefault(name, _Change(event.key, event.at, event.xid))
        change.statements.setdefault(event.watch, event.statement)
        change.events += 1
    return list(found.values())


def _place(verdicts: Mapping[str, Verdict], one: Published, row: _Row) -> None:
    """Finds the change that a publish belongs to. One that belongs to none is counted at once, for each watch of its
    task."""
    if one.fate == "in progress":
        return
    change: _Change | None
    if one.fate == "aborted":
        change, kind = None, "rolled_back"
    elif one.xid is not None:
        change = next((change for change in row.changes if change.xid == one.xid), None)
        kind = "needless" if one.fate == "committed" else "unknown"
    elif one.inside:
        change, kind = _after(row.changes, one.at), "unknown"
    else:
        change, kind = _before(row.changes, one.at), "needless"
    if change is not None:
        change.publishes.append(one)
        change.is_early |= one.inside
    for verdict in [verdicts[watch] for watch in change.statements] if change else verdicts.values():
        if one.at >= verdict.since:
            verdict.publishes += 1
            if change is None:
                verdict.add(kind, one.place, row.key, one.at, one.xid)  # type: ignore[arg-type]
            elif one.inside:
                verdict.add("early", one.place, change.key, one.at, one.xid)


def _after(row: list[_Change], at: datetime) -> _Change | None:
    """Returns the next change without a publish: the transaction wrote the row after it had published."""
    free = [change for change in row if not change.publishes]
    later = next((change for change in free if -_SKEW <= change.at - at <= HORIZON), None)
    return later or next((change for change in reversed(free) if timedelta(0) <= at - change.at <= _LATE), None)


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


def _judge(verdict: Verdict, change: _Change, statement: str | None) -> None:
    if change.at < verdict.since or (change.at > verdict.until and not change.publishes):
        return
    verdict.changes += 1
    if not change.publishes:
        verdict.add("missed", statement, change.key, change.at, change.xid)
        return
    # A task that ran once after the commit has seen all that its transaction did.
    surplus = change.publishes[max(change.events, 1) :]
    for one in surplus:
        verdict.add("doubled", one.place, change.key, one.at, one.xid)
    verdict.equal += not (surplus or change.is_early)
