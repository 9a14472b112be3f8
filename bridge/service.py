"""Service: the bridge process. One task group runs a relay for each stream, housekeeping, HTTP and signals."""

import logging
import os
import signal
from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from functools import partial

import anyio
from anyio.abc import TaskGroup

from bridge.concurrency import task_group
from bridge.garbage import collect_rarely
from bridge.operations.housekeeping import keep_house
from bridge.publisher import Pool, Publisher
from bridge.settings import Settings, host_and_port
from bridge.stream.relay import Relay
from bridge.telemetry import http
from bridge.telemetry.health import Health
from bridge.telemetry.prometheus import Metrics
from bridge.telemetry.recorder import Recorder
from bridge.telemetry.systemd import Systemd

logger = logging.getLogger(__name__)


class Service:
    """Everything that one `bridge run` does."""

    def __init__(self, databases: Sequence[Settings]) -> None:
        """`databases` has the settings for each database. They differ only in what concerns the database."""
        self._databases = databases
        self._settings = databases[0]
        self._health = Health()
        self._metrics = Metrics()
        self._systemd = Systemd(self._health)
        self._relays: dict[str, Relay] = {}
        # Made here and not with the first relay, so that a wrong address or app is reported at once.
        self._spare = self._publisher()

    async def run(self) -> bool:
        """Runs until SIGTERM or SIGINT. Returns whether a batch in flight was given up; the next run repeats it.

        Raises ConfigError for an invalid configuration, where retrying will not help.
        """
        logger.info(
            "starting",
            extra={"broker": self._spare.address, "streams": list(self._settings.streams) or "all"},
        )
        if self._settings.celery_app is None:
            logger.warning(
                'no --app is given; tasks go to the queue "celery", unless their watch names a queue. '
                "If your workers read another queue, give your Celery app"
            )
        collect_rarely()
        with ExitStack() as stack:
            if self._settings.http is not None:
                host, port = host_and_port(self._settings.http)
                port = stack.enter_context(http.serve(host, port, self._health, self._metrics))
                logger.info("http", extra={"host": host, "port": port})
            async with task_group() as life:
                # The beat goes on while the rest is being stopped.
                life.start_soon(self._beat)
                async with task_group() as group:
                    life.start_soon(self._stop_on_signal, group)
                    for settings in self._databases:
                        group.start_soon(keep_house, settings, self._health, partial(self._serve, group, settings))
                life.cancel_scope.cancel()
        given_up = [stream for stream, relay in self._relays.items() if relay.gave_up]
        if given_up:
            logger.warning("stopped, but gave up a batch: it will be published again", extra={"streams": given_up})
        else:
            logger.info("stopped")
        return bool(given_up)

    async def _beat(self) -> None:
        while True:
            self._health.beat()
            self._systemd.tell()
            await anyio.sleep(self._systemd.period)

    def _serve(self, group: TaskGroup, settings: Settings, streams: Iterable[str]) -> None:
        for stream in streams:
            label = settings.label(stream)
            if label not in self._relays:
                publisher = self._publisher() if self._relays else self._spare
                publisher.prepare()
                relay = Relay(stream, settings, publisher, Recorder(label, self._health, self._metrics))
                self._relays[label] = relay
                self._metrics.watch(label, self._health)
                group.start_soon(relay.run, name=f"relay {label}")

    def _publisher(self) -> Publisher | Pool:
        settings = self._settings
        if settings.publishers == 1:
            return Publisher(settings.broker_url, settings.celery_app)
        return Pool(settings.publishers, settings.broker_url, settings.celery_app)

    async def _stop_on_signal(self, group: TaskGroup) -> None:
        with anyio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
            async for first in signals:
                for number in (signal.SIGTERM, signal.SIGINT):
                    signal.signal(number, _exit_at_once)
                logger.info("stopping", extra={"signal": first.name})
                self._systemd.stopping()
                for relay in self._relays.values():
                    relay.stop_within(self._settings.grace)
                group.cancel_scope.cancel()
                # To close the receiver would restore the signals' default effect. In a container the bridge is process
                # 1, for which signals have no default effect.
                await anyio.sleep_forever()


def _exit_at_once(number: int, _: object) -> None:
    """Ends the process at once after a second signal. The exit code is the one that a shell reports for a process that
    a signal has ended."""
    os._exit(128 + number)
