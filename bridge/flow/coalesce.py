"""Coalesce: several events of one watch and key that are read together become one task."""

from collections.abc import Iterable, Sequence
from typing import Any

import msgspec

from bridge.call import Targets, context_of
from bridge.chain import depth_of, is_too_deep
from bridge.event import Event

_encode = msgspec.json.Encoder().encode


def coalesce(events: Iterable[Event], targets: Targets) -> list[Event]:
    """Returns one event for each future task. A merged event takes the place of the newest event in it.

    Events without a key (a truncate) and events of watches without the option stay as they are. So does the end of a
    chain: it becomes a dead letter, and would take other changes of the row with it. The result may be coalesced again,
    together with newer events.
    """
    coalescing = targets.coalescing
    groups: dict[object, list[Event]] = {}
    for place, event in enumerate(events):
        # An event that stays alone is named by its place, because two events may have one id.
        is_alone = (
            event.watch not in coalescing
            or event.key is None
            or event.flaw is not None
            or (event.context is not None and is_too_deep(context_of(event)))
        )
        name = place if is_alone else (event.watch, _encode(event.key))
        group = groups.pop(name, [])
        group.append(event)
        groups[name] = group
    return [one for group in groups.values() for one in ([merge(group)] if _can_merge(group) else group)]


def _can_merge(group: Sequence[Event]) -> bool:
    """Whether there are several events, all in the form that capture writes."""
    return len(group) > 1 and all(_is_texts(event.data.get("changed", [])) for event in group if event.data)


def _is_texts(value: object) -> bool:
    return isinstance(value, list) and all(isinstance(one, str) for one in value)


def merge(events: Sequence[Event]) -> Event:
    """Returns the newest event with the oldest old values, and with every column that changed in any of the events."""
    newest = events[-1]
    merged = tuple([origin for event in events[:-1] for origin in event.origins] + [*newest.merged])
    context = _context(events)
    if not any(event.data for event in events):
        return msgspec.structs.replace(newest, context=context, merged=merged)
    parts = [event.data or {} for event in events]
    data: dict[str, Any] = dict(parts[-1])
    for name in ("old", "old_key"):
        first = next((part[name] for part in parts if name in part), None)
        if first is not None:
            data[name] = first
    changed = sorted({column for part in parts for column in part.get("changed", ())})
    if changed:
        data["changed"] = changed
    return msgspec.structs.replace(newest, data=data or None, context=context, merged=merged)


def _context(events: Sequence[Event]) -> str | None:
    """Returns the context of the newest event; of the newest with the shortest chain, if tasks wrote some of them: what
    a person changed must not end early because a task changed the same row."""
    if not any(event.context is not None and "depth" in event.context for event in events):
        return events[-1].context
    return min(reversed(events), key=lambda event: depth_of(context_of(event))).context
