"""Publishes with a broker that is there."""

from collections.abc import Sequence

from bridge.call import Refusal, Targets
from bridge.event import Event
from bridge.publisher import Pool, Publisher


def publish(publisher: Publisher | Pool, events: Sequence[Event], targets: Targets) -> list[Refusal]:
    """Returns the events that can't be published; the broker must have all others."""
    receipt = publisher.publish(events, targets)
    assert receipt.outage is None
    return receipt.refusals(events)
