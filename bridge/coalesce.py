"""Coalesce: many events of one watch and key, read at once, become one task."""

from collections.abc import Iterable, Sequence
from typing import Any

import msgspec

from bridge.call import Targets
from bridge.event import Event


def coalesce(events: Iterable[Event], targets: Targets) -> list[Event]:
    """One event for each task to be; one that stands for several is where the newest of them was.

    Events without a key (a truncate) and those of watches without the option stay as they are. What comes out may be
    put in again, with events that are newer.
    """
    groups: dict[object, list[Event]] = {}
    for event in events:
        mergeable = event.key is not None and targets.coalesce(event.watch)
        name = (event.watch, msgspec.json.encode(event.key)) if mergeable else event.id
        group = groups.pop(name, [])
        group.append(event)
        groups[name] = group
    return [group[0] if len(group) == 1 else merge(group) for group in groups.values()]


def merge(events: Sequence[Event]) -> Event:
    """The newest event, with what was before all of them and all that changed in any."""
    newest = events[-1]
    parts = [event.data or {} for event in events]
    data: dict[str, Any] = dict(parts[-1])
    for name in ("old", "old_key"):
        first = next((part[name] for part in parts if name in part), None)
        if first is not None:
            data[name] = first
    changed = sorted({column for part in parts for column in part.get("changed", ())})
    if changed:
        data["changed"] = changed
    ids = [number for event in events for number in (*event.merged, event.id)]
    return msgspec.structs.replace(newest, data=data or None, merged=tuple(ids[:-1]))
