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
    for place, event in enumerate(events):
        # By its place where it stays alone: two events may have one id.
        name = _name(event, targets) or place
        group = groups.pop(name, [])
        group.append(event)
        groups[name] = group
    return [one for group in groups.values() for one in ([merge(group)] if _can_merge(group) else group)]


def _name(event: Event, targets: Targets) -> tuple[str, bytes] | None:
    """What events that become one have in common; None: it stays alone."""
    if event.key is None or event.flaw is not None or not targets.coalesce(event.watch):
        return None
    return event.watch, msgspec.json.encode(event.key)


def _can_merge(group: Sequence[Event]) -> bool:
    """Whether there are several, and all look as capture writes them."""
    return len(group) > 1 and all(_is_texts(event.data.get("changed", [])) for event in group if event.data)


def _is_texts(value: object) -> bool:
    return isinstance(value, list) and all(isinstance(one, str) for one in value)


def merge(events: Sequence[Event]) -> Event:
    """The newest event, with what was before all of them and all that changed in any."""
    newest = events[-1]
    merged = tuple([origin for event in events[:-1] for origin in event.origins] + [*newest.merged])
    if not any(event.data for event in events):
        return msgspec.structs.replace(newest, merged=merged)
    parts = [event.data or {} for event in events]
    data: dict[str, Any] = dict(parts[-1])
    for name in ("old", "old_key"):
        first = next((part[name] for part in parts if name in part), None)
        if first is not None:
            data[name] = first
    changed = sorted({column for part in parts for column in part.get("changed", ())})
    if changed:
        data["changed"] = changed
    return msgspec.structs.replace(newest, data=data or None, merged=merged)
