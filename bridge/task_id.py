"""Task id: the id of a task, computed from its event, so that each delivery of the event has this same id."""

from datetime import UTC, datetime
from hashlib import sha1
from uuid import UUID

from bridge.event import Event

# Made once with uuid4. If it changed, events that are delivered again would get new task ids.
NAMESPACE = UUID("6a1f2f0e-6d0b-4c39-9d53-0c7c5e1b7f5a")
_SEED = sha1(NAMESPACE.bytes, usedforsecurity=False)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def task_id(event: Event) -> str:
    """Returns the id of the task that an event starts."""
    return id_of(_name(event))


def _name(event: Event) -> str:
    """Returns the name that the task's id is computed from.

    It contains `at`, because after a failover or a restored backup the database can give an event's id a second time.
    It contains all events that were coalesced: a task for another set of events must have another id, or `once` would
    skip the new ones.
    """
    if not event.merged:
        return _single_name(event.watch, event.id, _microseconds(event.at))
    origins = ",".join([f"{origin.id}/{_microseconds(origin.at)}" for origin in event.origins])
    return f"{event.watch}/{origins}"


def _single_name(watch: str, number: int, microseconds: int) -> str:
    return f"{watch}/{number}/{microseconds}"


def task_id_of(watch: str, number: int, microseconds: int) -> str:
    """Returns the task id of an event that is not coalesced, from its watch, its id and its time since 1970."""
    return id_of(_single_name(watch, number, microseconds))


def _microseconds(at: datetime) -> int:
    """Returns whole microseconds since 1970, as PostgreSQL counts them."""
    since = at - _EPOCH
    return (since.days * 86_400 + since.seconds) * 1_000_000 + since.microseconds


def id_of(name: str) -> str:
    """Returns uuid5(NAMESPACE, name) as text, in a third of the time that `uuid` takes (RFC 9562, section 5.5)."""
    digest = _SEED.copy()
    digest.update(name.encode())
    h = digest.hexdigest()
    return f"{h[:8]}-{h[8:12]}-5{h[13:16]}-{'89ab'[int(h[16], 16) & 3]}{h[17:20]}-{h[20:32]}"
