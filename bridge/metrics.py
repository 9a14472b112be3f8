"""Metrics: what Prometheus can ask of a bridge. Names and meanings are in docs/reference/metrics.md."""

from prometheus_client import CollectorRegistry, Counter, Enum, Gauge, Histogram

from bridge.health import State


class Metrics:
    """One set for a process, in a registry of its own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.published = Counter(
            "bridge_events_published",
            "Events whose task the broker has confirmed.",
            ["stream", "watch"],
            registry=self.registry,
        )
        self.dead_letters = Counter(
            "bridge_dead_letters",
            "Events that could not be published as they were.",
            ["stream", "watch"],
            registry=self.registry,
        )
        self.broker_errors = Counter(
            "bridge_broker_errors",
            "Times that the broker was away, refused, or did not confirm.",
            ["stream"],
            registry=self.registry,
        )
        self.database_errors = Counter(
            "bridge_database_errors",
            "Lost or refused database connections.",
            ["stream"],
            registry=self.registry,
        )
        self.batch_size = Histogram(
            "bridge_batch_events",
            "Events per batch.",
            ["stream"],
            registry=self.registry,
            buckets=(1, 2, 5, 10, 50, 100, 500, 1000),
        )
        self.lag = Gauge(
            "bridge_lag_seconds",
            "Age of the oldest event of the last batch when it was confirmed.",
            ["stream"],
            registry=self.registry,
        )
        self.state = Enum(
            "bridge_relay_state",
            "What the relay is doing.",
            ["stream"],
            states=[s.value for s in State],
            registry=self.registry,
        )
