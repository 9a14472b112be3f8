"""Log: reads events for the pages, with an effort that does not depend on the size of the log."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, ClassVar

from django.db import connections, transaction

from bridge import event as events
from bridge.chain import is_own_write
from bridge.database.statement import statement
from bridge.task_id import task_id_of
from django_app.admin.people import names, user_of
from django_app.admin.rights import Needs
from django_app.admin.show import parsed
from django_app.admin.shown import shown
from django_app.models import Event

DEPTH = 10_000
"""The number of events that a search looks at, in each of the eight lanes of each stream."""
MOST = 10_000
"""The largest number of events that are counted and shown in pages without a condition."""
LAST_XID = 2**64 - 1
NEEDS = Needs(tables=("event", "stream", "watch"), functions=("fate",))

_LIST = statement("list_events", "django_app")
_COUNT = statement("count_events", "django_app")
_NO_JIT = statement("avoid_jit", "django_app")
_HORIZON = statement("find_horizon", "django_app")
_NO_CONDITION: Mapping[str, Any] = {
    **dict.fromkeys(
        ("before", "after", "stream", "id", "watch", "op", "since", "until", "user", "keys", "row_watches", "row_keys")
    ),
    "by_key": False,
    "by_time": False,
}


@dataclass(frozen=True)
class Logged:
    """An event of the log, as the pages show it. Django's list reads `_meta`, `pk` and `serializable_value`."""

    _meta: ClassVar[Any] = Event._meta
    event: Event
    at: datetime | None
    """Time of the event. None: outside the range of Python's datetime."""
    task: str | None
    task_id: str | None
    coalesces: bool
    fate: str
    reason: str | None
    since: datetime | None
    key: Any
    data: Any
    context: Any
    user: str | None
    """The name of the user in the context; the key or text that the context has where there is no such user."""
    decided_by: str | None
    total: int = field(repr=False)

    @property
    def pk(self) -> str:
        """The identity of a row of the log: a retried event has several rows with one id."""
        return f"{self.event.stream}-{self.event.xid}-{self.event.id}"

    def serializable_value(self, _: str) -> str:
        return self.pk

    def __str__(self) -> str:
        return str(self.event)


@dataclass(frozen=True)
class Horizon:
    """The first event that a search did not reach."""

    xid: str
    at: datetime | None

    def older(self, before: str | None) -> str:
        """Returns where the next search begins: after a transaction that is larger than one search."""
        return self.xid if self.xid != before else str(int(self.xid) - 1)


def read(
    conditions: Mapping[str, Any], rows: int, skip: int = 0, depth: int = DEPTH, data: bool = False
) -> list[Logged]:
    """Returns the newest events that meet the conditions of list_events.sql. Without `data` they have none."""
    values = {**_NO_CONDITION, **conditions, "rows": rows, "skip": skip, "depth": depth, "with_data": data}
    found = fetch(_LIST, values)
    for row in found:
        row["context"] = (row["context"], parsed(row["context"]))
        row["user"] = user_of(row["context"][1])
        row["decided_by"] = user_of(parsed(row["decided_in"]))
    known = names(user for row in found for user in (row["user"], row["decided_by"]))
    return [_logged(row, known) for row in found]


def find(identity: str) -> Logged | None:
    """Returns the event with this `pk`; None if the log does not have it."""
    stream, _, rest = identity.partition("-")
    xid, _, number = rest.partition("-")
    if not (is_xid(xid) and number.isascii() and number.isdecimal() and len(number) < 19 and "\0" not in stream):
        return None
    found = read({"stream": stream, "before": xid, "after": xid, "id": int(number)}, 1, depth=10_000_000, data=True)
    return found[0] if found else None


def count() -> int:
    return int(fetch(_COUNT, {"most": MOST})[0]["number"])


def horizon(conditions: Mapping[str, Any], depth: int = DEPTH) -> Horizon | None:
    """Returns where a search with these conditions ended; None if it looked at everything."""
    found = fetch(_HORIZON, {**_NO_CONDITION, **conditions, "depth": depth})
    return Horizon(**found[0]) if found else None


def is_xid(text: str) -> bool:
    return text.isascii() and text.isdecimal() and len(text) <= 20 and int(text) <= LAST_XID


def fetch(query: str, values: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Runs a query that may read a large part of the log."""
    with transaction.atomic(using=shown()), connections[shown()].cursor() as cursor:
        cursor.execute(_NO_JIT)
        cursor.execute(query, values)
        names = [column[0] for column in cursor.description]
        return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]


def _fate(row: dict[str, Any], key: Any) -> str:
    """Returns the fate of the row. Only the context shows that a task of the watch itself wrote the change."""
    if row["fate"] != "published" or not row["ignores_own_writes"] or not isinstance(row["at"], datetime):
        return str(row["fate"])
    event = events.Event(row["id"], row["watch"], row["op"], key, parsed(row["data"]), None, row["at"])
    return "skipped" if is_own_write(event, row["context"][1]) else "published"


def _logged(row: dict[str, Any], known: Mapping[str, str]) -> Logged:
    key = parsed(row["key"])
    microseconds = row["microseconds"]
    return Logged(
        event=Event(
            id=row["id"],
            xid=row["xid"],
            stream=row["stream"],
            watch=row["watch"],
            op=row["op"],
            key=key,
            context=row["context"][0],
            at=row["at"],
        ),
        at=row["at"],
        task=row["task"],
        task_id=None if microseconds is None else task_id_of(row["watch"], row["id"], microseconds),
        coalesces=row["coalesces"],
        fate=_fate(row, key),
        reason=row["reason"],
        since=row["since"],
        key=key,
        data=parsed(row["data"]),
        context=row["context"][1],
        user=known.get(row["user"], row["user"]),
        decided_by=known.get(row["decided_by"], row["decided_by"]),
        total=row["total"],
    )
