"""Metrics: the numbers that Prometheus can read from a bridge. docs/reference/metrics.md explains them."""

from functools import partial

from prometheus_client import CollectorRegistry, Counter, Enum, Gauge, Histogram

from bridge.telemetry.health import Health, State


class Metrics:
    """All metrics of one process, in a separate registry."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.published = Counter(
            "bridge_events_published",
            "Events whose task the broker has confirmed.",
            ["stream", "watch"],
            registry=self.registry,
        )
        self.skipped = Counter(
            "bridge_events_skipped",
            "Events that start no task: of shadow watches, and ignored own writes.",
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
            buckets=(1, 2, 5, 10, 50, 100, 500, 1000, 2000, 5000, 10_000),
        )
        self.lag = Gauge(
            "bridge_lag_seconds",
            "Age of the oldest event that is known and not delivered.",
            ["stream"],
            registry=self.registry,
        )
        self.waiting = Gauge(
            "bridge_waiting_events",
            "Events that are known and not delivered.",
            ["stream"],
            registry=self.registry,
        )
        self.delivery = Histogram(
            "bridge_delivery_seconds",
            "Age of a batch's oldest event when the broker had confirmed it.",
            ["stream"],
            registry=self.registry,
            buckets=(0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 5, 30, 300, 3600),
        )
        self.notification_queue = Gauge(
            "bridge_notification_queue_ratio",
            "Share of the server's notification queue in use, as of the last heartbeat.",
            registry=self.registry,
        )
        self.state = Enum(
            "bridge_relay_state",
            "What the relay is doing.",
            ["stream"],
            states=[s.value for s in State],
            registry=self.registry,
        )

    def watch(self, stream: str, health: Health) -> None:
        """Connects the stream's gauges with its health. Each scrape computes them, so they grow with the clock."""
        self.lag.labels(stream).set_function(partial(health.lag, stream))
        self.waiting.labels(stream).set_function(partial(health.waiting, stream))
