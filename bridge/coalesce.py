"""Coalesce: many events of one watch and key, read at once, become one task."""

from collections.abc import Sequence

import msgspec

from bridge.call import Targets
from bridge.event import Event


def coalesce(events: Sequence[Event], targets: Targets) -> list[Sequence[Event]]:
    """The events in groups, one for each task to be; a group stands where its newest event stood.

    Events without a key (a truncate) and those of watches without the option stay alone.
    """
    wanted = {watch for watch in {event.watch for event in events} if targets.coalesce(watch)}
    if not wanted:
        return [(event,) for event in events]
    groups: dict[object, list[Event]] = {}
    for event in events:
        mergeable = event.watch in wanted and event.key is not None
        name = (event.watch, msgspec.json.encode(event.key)) if mergeable else event.id
        group = groups.pop(name, [])
        group.append(event)
        groups[name] = group
    return list(groups.values())
