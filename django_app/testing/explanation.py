"""Explanation: why a block did not start a task, as far as the watches and the statements of the block show it."""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from difflib import get_close_matches

from django.core.management.base import CommandError
from django.db import Error, transaction

from bridge.errors import BridgeError
from bridge.watch import Watch
from django_app.database import aliases
from django_app.declarations import registry, sync
from django_app.declarations.declaration import Declaration
from django_app.declarations.plan import Plan
from django_app.testing.captured import CapturedEvent
from django_app.testing.log import Installed, Log
from django_app.testing.statements import Statements, Write

_MOST = 10
_MIGRATE = (
    "run `manage.py migrate`; a test database that was kept needs one run without --keepdb (with pytest: --create-db)"
)


def listed(events: Sequence[CapturedEvent]) -> list[str]:
    """Returns what a block has captured, one line for each event."""
    if not events:
        return ["The block started nothing: no watch recorded a change."]
    more = [f"  and {len(events) - _MOST} more"] if len(events) > _MOST else []
    return ["The block started:", *(f"  {event}" for event in events[:_MOST]), *more]


def declared() -> dict[str, tuple[Watch, str]]:
    """Returns the watches that the project declares, each with the place of its declaration."""
    return {watch.name: (watch, declaration.origin) for declaration, watch in _readable()}


def home_of(task: str) -> str | None:
    """Returns the alias of the database whose watches start a task; None if there is no such watch, or several
    databases have one. `task` is the name of a task or of a watch."""
    homes = {declaration.home for declaration, watch in _readable() if task in (watch.name, watch.task)}
    found = homes & set(aliases())
    return found.pop() if len(found) == 1 else None


def _readable() -> Iterator[tuple[Declaration, Watch]]:
    for declaration in registry.declared():
        with suppress(BridgeError):  # a system check reports it
            yield declaration, declaration.watch()


def reasons(task: str, events: Sequence[CapturedEvent], log: Log, statements: Statements) -> Iterator[str]:
    """Yields why the watches of a task recorded nothing. `task` is the name of a task or of a watch."""
    ours = {name: each for name, each in declared().items() if task in (name, each[0].task)}
    there = {each.name: each for each in log.watches if each.installed and task in (each.name, each.task)}
    if not ours and not there:
        yield from _unknown(task, log)
    plan = _plan(log)
    for name in sorted(ours.keys() - there.keys()):
        reason = plan.later.get(name) or plan.broken.get(name) or _MIGRATE
        yield f'The watch "{name}" is declared at {ours[name][1]}, but not in the database: {reason.rstrip(".")}.'
    for name, watch in there.items():
        if not any(event.watch == name for event in events):
            yield f"{_described(watch)} {_mismatch(watch, statements)}"
            if name in {change.name for change in plan.changes}:
                yield f'The watch "{name}" is not as it is declared, or its triggers are disabled: {_MIGRATE}.'


def _unknown(task: str, log: Log) -> Iterator[str]:
    names = {watch.task for watch in log.watches if watch.installed} | {watch.task for watch, _ in declared().values()}
    close = get_close_matches(task, sorted(names), 1)
    hint = f"Did you mean '{close[0]}'?" if close else f"The watches start: {', '.join(sorted(names)) or 'nothing'}."
    yield f"No watch starts '{task}'. {hint}"


def _plan(log: Log) -> Plan:
    """Returns what `migrate` would do; an empty plan if this role can't find out."""
    try:
        with transaction.atomic(using=log.connection.alias):  # a refused statement must not break the test's own
            return sync.look(log.connection)
    except (BridgeError, CommandError, Error):
        return Plan()


def _described(watch: Installed) -> str:
    parts = [f"on {', '.join(watch.operations)} of {watch.table}"]
    if watch.columns:
        parts.append(f"columns {', '.join(watch.columns)}")
    if watch.condition:
        parts.append(f"when {watch.condition}")
    return f'The watch "{watch.name}" ({"; ".join(parts)}) recorded nothing:'


def _mismatch(watch: Installed, statements: Statements) -> str:
    table = str(watch.table)
    writes = [write for write in statements.writes if write.table == table]
    if not writes:
        if statements.name(table):
            return f"no statement of the block wrote {table}, as far as its text shows."
        return f"no statement of the block names {table}."
    matching = [write for write in writes if write.op in watch.operations]
    if not matching:
        return f"the block ran only {_ops(writes)} on {table}."
    if watch.columns and all(_misses(write, watch.columns) for write in matching):
        fields = sorted({column for write in matching for column in write.columns})
        return f"the update set only {', '.join(fields)}."
    causes = ["it changed no row, or was rolled back"]
    if watch.columns:
        causes.append(f"no value of {', '.join(watch.columns)} changed")
    if watch.condition:
        causes.append("the condition was not true for any row")
    return f"the block ran {_ops(matching)} on {table}, but {', or '.join(causes)}."


def _misses(write: Write, columns: Iterable[str]) -> bool:
    return write.op == "update" and bool(write.columns) and not set(columns) & set(write.columns)


def _ops(writes: Iterable[Write]) -> str:
    return ", ".join(sorted({write.op for write in writes}))
