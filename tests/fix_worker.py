"""Real Celery workers, one for each broker and test process, because they take seconds to start.

Tests share a worker, so a test looks only at the tasks of its own watch, whose name is unique.
"""

import json
import secrets
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tests.eventually import eventually
from tests.fix_bridge import ROOT, environment
from tests.fix_broker import Broker, leased_redis, swept_rabbitmq
from tools.servers import Child, PrivateDirectory, Valkey

CELERY = Path(sys.executable).with_name("celery")


@dataclass(frozen=True)
class Worker:
    broker: Broker
    file: Path
    watch: str = field(default_factory=lambda: f"reprice_{secrets.token_hex(6)}")
    """A unique name for the test's watch."""

    def received(self, watch: str | None = None) -> list[dict[str, Any]]:
        """Returns the requests of this watch's tasks, in order."""
        complete, _, _ = self.file.read_text().rpartition("\n")
        lines = [json.loads(line) for line in complete.splitlines()]
        return [line for line in lines if line["bridge"] and line["bridge"]["watch"] == (watch or self.watch)]

    def wait_for(self, count: int, seconds: float = 20) -> list[dict[str, Any]]:
        """Waits for at least `count` tasks of the test's watch."""
        assert eventually(lambda: len(self.received()) >= count, seconds), f"{count} expected: {self.received()}"
        return self.received()


@contextmanager
def working(broker: Broker, **more: str) -> Iterator[Worker]:
    with PrivateDirectory() as directory:
        file = directory.path / "received"
        file.touch()
        env = environment(
            SHOP_BROKER=broker.url, SHOP_QUEUE=broker.queue, SHOP_RECEIVED=str(file), C_FORCE_ROOT="1", **more
        )
        log = directory.path / "log"
        name = f"{broker.queue}@localhost"
        argv: list[str | Path] = [CELERY, "-A", "tests.worker_app", "worker", "--pool=solo", "--loglevel=info"]
        argv += [f"--hostname={name}", f"--queues={broker.queue}"]
        argv += ["--without-gossip", "--without-mingle", "--without-heartbeat"]
        child = Child(argv, directory, log=log, env=env, cwd=ROOT)
        try:
            child.wait_until(lambda: f"{name} ready." in log.read_text(), 60)
            yield Worker(broker, file)
        finally:
            # Its work is done and its queue is removed too, so a polite end is not needed.
            child.kill()


@pytest.fixture(scope="session")
def valkey_worker() -> Iterator[Worker]:
    # The worker needs its own server, because the shared one is emptied after each test.
    with Valkey() as server, working(Broker("valkey", server.url())) as worker:
        yield worker


@pytest.fixture(scope="session")
def redis_worker() -> Iterator[Worker]:
    with leased_redis() as url, working(Broker("redis", url)) as worker:
        yield worker


@pytest.fixture(scope="session")
def rabbitmq_worker() -> Iterator[Worker]:
    with swept_rabbitmq() as broker, working(broker) as worker:
        yield worker


@pytest.fixture(params=["valkey", "redis", "rabbitmq"])
def worker(request: pytest.FixtureRequest) -> Worker:
    # This fixture ends whenever the parameter changes. The workers are fixtures of their own, so they stay.
    shared: Worker = request.getfixturevalue(f"{request.param}_worker")
    return Worker(shared.broker, shared.file)
