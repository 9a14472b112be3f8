"""An edit in the admin, what its task saw, and the verdict about all edits."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from enum import Enum
from statistics import quantiles


class Way(Enum):
    """A way in which a change starts a task: the model that uses it, and the name of the task."""

    OLD = ("LegacyProduct", "catalog.tasks.reprice_legacy")
    BRIDGE = ("Product", "catalog.tasks.reprice")

    def __init__(self, model: str, task: str) -> None:
        self.model = model
        self.task = task


@dataclass(frozen=True)
class Run:
    """The record that a task wrote."""

    task: str
    product_id: int
    price_seen: Decimal
    started_at: datetime


@dataclass(frozen=True)
class Edit:
    way: Way
    product_id: int
    price: Decimal
    committed_at: datetime
    run: Run | None  # None if no task ran

    @property
    def stale(self) -> bool:
        return self.run is not None and self.run.price_seen != self.price

    @property
    def outcome(self) -> str:
        """Returns right, stale, lucky (right, but the task started before the commit) or lost (no task)."""
        if self.latency_ms is None:
            return "lost"
        if self.stale:
            return "stale"
        return "right" if self.latency_ms >= 0 else "lucky"

    @property
    def latency_ms(self) -> float | None:
        """The milliseconds from the commit to the start of the task; negative if the task started before the commit."""
        return (self.run.started_at - self.committed_at).total_seconds() * 1000 if self.run else None


@dataclass(frozen=True)
class Verdict:
    edits: int  # in each way
    old_way_stale: int
    bridge_stale: int
    bridge_tasks: int
    p50: float
    p99: float
    promises: Mapping[str, bool]
    """The other promises by name: whether each was kept."""

    @property
    def proven(self) -> bool:
        race = self.old_way_stale > 0 and self.bridge_stale == 0 and self.bridge_tasks == self.edits
        return race and all(self.promises.values())

    def as_dict(self) -> dict[str, object]:
        return {
            "edits": self.edits,
            "old_way_stale": self.old_way_stale,
            "bridge_stale": self.bridge_stale,
            "bridge_tasks": self.bridge_tasks,
            "latency_ms": {"p50": round(self.p50, 1), "p99": round(self.p99, 1)},
            "promises": dict(self.promises),
        }


def judge(edits: Sequence[Edit], bridge_tasks: int, promises: Mapping[str, bool]) -> Verdict:
    bridge = [edit for edit in edits if edit.way is Way.BRIDGE]
    latencies = [edit.latency_ms for edit in bridge if edit.latency_ms is not None] or [float("nan")]
    # quantiles() needs at least two values, so a single one is doubled.
    percentiles = quantiles(latencies if len(latencies) > 1 else latencies * 2, n=100, method="inclusive")
    return Verdict(
        edits=len(bridge),
        old_way_stale=sum(edit.stale for edit in edits if edit.way is Way.OLD),
        bridge_stale=sum(edit.stale for edit in bridge),
        bridge_tasks=bridge_tasks,
        p50=percentiles[49],
        p99=percentiles[98],
        promises=promises,
    )
