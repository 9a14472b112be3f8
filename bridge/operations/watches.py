"""Watches: plans and makes changes of the watches in a database, and finds those that do not fit their table."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any, Literal

import anyio
import msgspec

from bridge.backoff import Backoff
from bridge.call import Target, targets_of
from bridge.change import Change
from bridge.database.connection import Connection
from bridge.database.query import notification, query
from bridge.database.session import own_search_path
from bridge.database.statement import statement
from bridge.database.translation import translated
from bridge.errors import LockTimeoutError
from bridge.watch import Watch

_TRIES = 5
_LOCK_TIMEOUT = statement("limit_lock_wait")
_DRIFT = statement("find_drift")
_REASONS = statement("read_drift")
_TARGETS = statement("read_present_targets")
_REFRESH = statement("refresh_watches")
_LISTEN = statement("listen_for_watches")
_CHANGES = {
    "plan": statement("plan_watches"),
    "apply": statement("apply_watches"),
}


class Drift(msgspec.Struct, frozen=True):
    """A watch that does not fit its table any more."""

    name: str
    definition: dict[str, Any]
    reason: str | None
    """Why it can't be installed again as it is. None: only its triggers are missing or disabled."""


async def plan(connection: Connection, watches: Sequence[Watch], prune: bool) -> list[Change]:
    """Returns what `apply` would do."""
    return await _changes(connection, "plan", watches, prune)


async def apply(connection: Connection, watches: Sequence[Watch], prune: bool, lock_timeout: float) -> list[Change]:
    """Creates, changes and removes watches as `watches` declares, in one transaction.

    Writers queue behind an installation that waits for a table's lock. So it waits at most `lock_timeout` seconds,
    lets the writers pass, and tries again a few times. Raises LockTimeoutError when nothing was changed.
    """
    return await _patiently(connection, lock_timeout, lambda: _changes(connection, "apply", watches, prune))


async def _patiently(
    connection: Connection, lock_timeout: float, do: Callable[[], Awaitable[list[Change]]]
) -> list[Change]:
    milliseconds = {"timeout": f"{lock_timeout * 1000:.0f}ms"}
    await query(connection, _LOCK_TIMEOUT, milliseconds)
    backoff = Backoff()
    for _ in range(_TRIES - 1):
        with suppress(LockTimeoutError):
            return await do()
        await anyio.sleep(backoff.next())
    try:
        return await do()
    except LockTimeoutError as error:
        raise LockTimeoutError(
            f"could not lock the tables in {_TRIES} tries of {lock_timeout:g} s, so nothing was changed; "
            "run it when no long transaction uses these tables, or give a longer --lock-timeout"
        ) from error


async def repair(connection: Connection, lock_timeout: float) -> list[Change]:
    """Installs the watches that drift() names again, as the database has them, as far as their tables are as they were.
    It waits for locks as `apply` does."""
    return await _patiently(connection, lock_timeout, lambda: _repaired(connection))


async def drift(connection: Connection) -> list[Drift]:
    """Returns the watches whose triggers are missing, are disabled, or no longer fit their table."""
    rows = await query(connection, _DRIFT, slow=True)
    if not all(row.may_read for row in rows):
        return [Drift(row.name, {}, None) for row in rows]  # the owner of the schema sees the reason
    return [Drift(**row._asdict()) for row in await query(connection, _REASONS, slow=True)] if rows else []


async def targets(connection: Connection) -> Mapping[str, Target]:
    """Returns what each installed watch starts, by the watch's name."""
    rows = await query(connection, _TARGETS)
    return targets_of([(row.name, row.task, row.options) for row in rows], ()).watches


async def refresh(connection: Connection) -> int:
    """Renews the table and column numbers that capture uses; a restore changes them. Returns how many watches
    needed it."""
    [(number,)] = await query(connection, _REFRESH, slow=True)
    return int(number)


async def listen(connection: Connection) -> None:
    """Subscribes to changes of watches. Behind a pooler in transaction mode notifications never arrive."""
    # Behind such a pooler the server would keep all notifications for a session that never reads them.
    if not connection.pinned:
        await query(connection, _LISTEN)


async def changed(connection: Connection, within: float) -> bool:
    """Whether a watch was changed within this number of seconds. Call `listen` first."""
    with translated():
        return await notification(connection, within)


async def _repaired(connection: Connection) -> list[Change]:
    found = await drift(connection)
    left = [Change("later", each.name, each.definition, {"reason": each.reason}) for each in found if each.reason]
    return left + await _applied(connection, "apply", [each.definition for each in found if not each.reason], False)


async def _changes(
    connection: Connection, step: Literal["plan", "apply"], watches: Sequence[Watch], prune: bool
) -> list[Change]:
    return await _applied(connection, step, [w.definition() for w in watches], prune)


async def _applied(
    connection: Connection, step: Literal["plan", "apply"], definitions: Sequence[dict[str, Any]], prune: bool
) -> list[Change]:
    values = {"wanted": msgspec.json.encode(definitions).decode(), "prune": prune}
    async with own_search_path(connection):
        rows = await query(connection, _CHANGES[step], values, slow=True)
    return [Change(**row._asdict()) for row in rows]
