"""Report: reads what the shadow watches recorded and what the old dispatch published, and compares both."""

import json
from datetime import datetime, timedelta
from typing import Any

from django.db.backends.base.base import BaseDatabaseWrapper

from bridge.database.statement import statement
from django_app.shadow.comparison import HORIZON, Published, Recorded, compare
from django_app.shadow.verdict import Verdict

_CLOCK = statement("read_clock", "django_app")
_WATCHES = statement("read_shadow_watches", "django_app")
_EVENTS = statement("read_shadow_events", "django_app")
_PUBLISHES = statement("read_shadow_publishes", "django_app")

SETTLED = timedelta(seconds=10)
"""A change is judged after this time: its publish may still be on its way."""
MOST = 200_000
"""The most events, and the most publishes, that are read of one watch."""


def report(
    connection: BaseDatabaseWrapper, since: timedelta = timedelta(hours=24), settled: timedelta = SETTLED
) -> list[Verdict]:
    """Returns a verdict for each installed shadow watch, over the last `since`, or since the watch was changed."""
    [(now,)] = _rows(connection, _CLOCK, {})
    return [
        _verdict(connection, name, task, stream, max(now - since, changed_at), now - settled)
        for name, task, stream, changed_at in _rows(connection, _WATCHES, {})
    ]


def _verdict(
    connection: BaseDatabaseWrapper, watch: str, task: str, stream: str, since: datetime, until: datetime
) -> Verdict:
    begin = {"since": since - HORIZON, "most": MOST}
    # Publishes are read first: a publish without its change would be counted, while a change without its publish is
    # only judged after a while.
    publishes = _rows(connection, _PUBLISHES, {"task": task, **begin})
    events = _rows(connection, _EVENTS, {"watch": watch, "stream": stream, **begin})
    for rows, column in ((publishes, 1), (events, 4)):
        if len(rows) == MOST:
            since = max(since, rows[-1][column] + HORIZON)
    verdict = Verdict(watch, task, since, until, is_cut=MOST in (len(publishes), len(events)))
    recorded = [Recorded(_list(key), said, at, xid) for _, key, said, _, at, xid in events]
    published = [
        Published(_list(args), at, inside, xid, place, fate) for args, at, inside, xid, place, fate in publishes
    ]
    compare(verdict, recorded, published)
    return verdict


def _list(text: str | None) -> list[object]:
    return list(json.loads(text)) if text else []


def _rows(connection: BaseDatabaseWrapper, sql: str, values: dict[str, Any]) -> list[tuple[Any, ...]]:
    with connection.cursor() as cursor:
        cursor.execute(sql, values)
        return list(cursor.fetchall())
