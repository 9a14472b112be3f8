"""Poison: a batch with one event that can't be published, and what became of the others."""

from typing import Any

from msgspec.structs import replace

from bridge.call import Target, Targets
from bridge.event import Event
from bridge.publisher import Pool, Publisher
from tests.fix_broker import Broker
from tests.publisher.messages import event, take_all
from tests.publisher.publishing import publish

LONG = "n" * 300


def batch(broker: Broker, **poison: Any) -> tuple[list[Event], Targets]:
    """Returns the events 1 to 5. The third one belongs to another watch, which has these options."""
    watches = {"w": Target("shop.touch", {"queue": broker.queue}), "poison": Target("shop.touch", poison)}
    events = [event([n], n) for n in range(1, 6)]
    events[2] = replace(events[2], watch="poison")
    return events, Targets(watches)


def keys(broker: Broker, count: int) -> list[Any]:
    return [part["body"][0][0] for part in take_all(broker, broker.queue, count)]


def refused(publisher: Publisher | Pool, events: list[Event], targets: Targets) -> dict[int, str]:
    try:
        return {refusal.event.id: refusal.reason for refusal in publish(publisher, events, targets)}
    finally:
        publisher.close()
