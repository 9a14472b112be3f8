"""Report: reads what the shadow watches recorded and what the old dispatch published, and compares both."""

import json
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import datetime, timedelta
from decimal import Decimal
from itertools import groupby
from typing import Any, NamedTuple

from django.db.backends.base.base import BaseDatabaseWrapper
from kombu.utils.json import loads

from bridge.database.statement import statement
from django_app.project import load_app
from django_app.shadow.arguments import as_json, ordered
from django_app.shadow.comparison import HORIZON, Published, Recorded, compare
from django_app.shadow.verdict import Verdict

_CLOCK = statement("read_clock", "django_app")
_WATCHES = statement("read_shadow_watches", "django_app")
_EVENTS = statement("read_shadow_events", "django_app")
_PUBLISHES = statement("read_shadow_publishes", "django_app")
_SENT = statement("read_shadow_sent", "django_app")
_FULL = statement("are_notes_full", "django_app")

SETTLED = timedelta(seconds=10)
"""A change is judged after this time: its publish may still be on its way."""
MOST = 200_000
"""The most events, and the most publishes, that are read of one watch."""


class _Watch(NamedTuple):
    name: str
    task: str
    stream: str
    changed_at: datetime


def report(
    connection: BaseDatabaseWrapper, since: timedelta = timedelta(hours=24), settled: timedelta = SETTLED
) -> list[Verdict]:
    """Returns a verdict for each installed shadow watch, over the last `since`, or since the watch was changed."""
    [(now,)] = _rows(connection, _CLOCK, {})
    [(is_full,)] = _rows(connection, _FULL, {})
    watches = sorted((_Watch(*row) for row in _rows(connection, _WATCHES, {})), key=lambda watch: watch.task)
    verdicts: dict[str, Verdict] = {}
    # A publish names its task, and not the watch that it stands for. So the watches of one task are compared together.
    for task, group in groupby(watches, key=lambda watch: watch.task):
        together = list(group)
        mine = {
            watch.name: Verdict(watch.name, task, max(now - since, watch.changed_at), now - settled, is_full=is_full)
            for watch in together
        }
        _compare(connection, together, mine)
        verdicts |= mine
    return [verdicts[name] for name in sorted(verdicts)]


def _compare(connection: BaseDatabaseWrapper, watches: list[_Watch], verdicts: dict[str, Verdict]) -> None:
    since = min(verdict.since for verdict in verdicts.values()) - HORIZON
    # Publishes are read first: a publish without its change would be counted, while a change without its publish is
    # only judged after a while.
    published = _published(connection, watches[0].task, since, list(verdicts.values()))
    recorded: list[Recorded] = []
    for watch in watches:
        values = {"watch": watch.name, "stream": watch.stream, "since": since, "most": MOST}
        events = _rows(connection, _EVENTS, values)
        _cut(events, 4, [verdicts[watch.name]])
        recorded += [Recorded(watch.name, _list(key), said, at, xid) for _, key, said, _, at, xid in events]
    compare(verdicts, recorded, published)


def _published(connection: BaseDatabaseWrapper, task: str, since: datetime, verdicts: list[Verdict]) -> list[Published]:
    values = {"task": task, "since": since, "most": MOST}
    noted = _rows(connection, _PUBLISHES, values)
    sent = _rows(connection, _SENT, values)
    _cut(noted, 1, verdicts)
    _cut(sent, 2, verdicts)
    app = load_app()
    function = None if app is None else getattr(app.tasks.get(task), "run", None)
    return [
        *(Published(_list(args), at, inside, xid, place, fate) for args, at, inside, xid, place, fate in noted),
        *(Published(list(_sent(args, kwargs, function)), at, False, xid, None, "committed")
          for args, kwargs, at, xid in sent),
    ]  # fmt: skip


def _cut(rows: list[tuple[Any, ...]], column: int, verdicts: list[Verdict]) -> None:
    """Lets the verdicts begin later, if there was more than is read at once."""
    if len(rows) == MOST:
        for verdict in verdicts:
            verdict.since = max(verdict.since, rows[-1][column] + HORIZON)
            verdict.is_cut = True


def _list(text: str | None) -> list[object]:
    # A role that may note publishes may nest the arguments so deeply that they can't be read.
    with suppress(ValueError, RecursionError):
        values = json.loads(text, parse_float=Decimal) if text else []
        return [None if isinstance(value, list | dict) else value for value in values]
    return []


def _sent(args: str | None, kwargs: str | None, function: Callable[..., Any] | None) -> Iterator[object]:
    """Yields the arguments of a sent task. Celery's JSON has types of its own, such as a UUID."""
    with suppress(ValueError, TypeError, KeyError, AttributeError, RecursionError):
        yield from as_json(ordered(function, list(loads(args or "[]")), dict(loads(kwargs or "{}"))))


def _rows(connection: BaseDatabaseWrapper, sql: str, values: dict[str, Any]) -> list[tuple[Any, ...]]:
    with connection.cursor() as cursor:
        cursor.execute(sql, values)
        return list(cursor.fetchall())
