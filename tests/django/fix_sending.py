"""A Celery worker for tasks that are sent in transactions, with a result backend, and the bridge that serves it."""

import gc
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.django.sending_app import shop
from tests.eventually import eventually
from tests.fix_bridge import ROOT, Bridges, environment
from tests.fix_broker import Broker, leased_redis, swept_rabbitmq
from tests.fix_postgres import Database
from tests.fix_worker import CELERY
from tools.servers import Child, PrivateDirectory


@dataclass(frozen=True)
class SendingWorker:
    """A worker, and an app of this process that has the same broker, backend and queue."""

    broker: Broker
    backend: str
    app: Any
    file: Path
    env: dict[str, str]

    def notes(self, task: str | None = None) -> list[dict[str, Any]]:
        """Returns what the tasks have noted, in order."""
        complete, _, _ = self.file.read_text().rpartition("\n")
        lines = [json.loads(line) for line in complete.splitlines()]
        return [line for line in lines if task in (None, line["task"])]

    def wait_for(self, count: int, task: str) -> list[dict[str, Any]]:
        assert eventually(lambda: len(self.notes(task)) >= count, 30), f"{count} of {task}: {self.notes()}"
        return self.notes(task)

    def serve(self, run_bridge: Bridges, database: Database) -> Any:
        """Starts a bridge with this app, as a project does."""
        return run_bridge(database.dsn, "--app=tests.django.sending_app:app", env=self.env)


@contextmanager
def sending_worker(broker: Broker, backend: str) -> Iterator[SendingWorker]:
    with PrivateDirectory() as directory:
        file = directory.path / "notes"
        file.touch()
        env = {"SENDING_BROKER": broker.url, "SENDING_BACKEND": backend, "SENDING_QUEUE": broker.queue}
        env |= {
            "PYTHONPATH": str(ROOT / "examples" / "shop"),
            "DJANGO_SETTINGS_MODULE": "tests.django.sending_settings",
        }
        log, name = directory.path / "log", f"{broker.queue}@localhost"
        argv: list[str | Path] = [CELERY, "-A", "tests.django.sending_app", "worker", "--pool=solo", "--loglevel=info"]
        argv += [f"--hostname={name}", f"--queues={broker.queue}"]
        argv += ["--without-gossip", "--without-mingle", "--without-heartbeat"]
        child = Child(
            argv, directory, log=log, env=environment(C_FORCE_ROOT="1", SENDING_NOTES=str(file), **env), cwd=ROOT
        )
        try:
            child.wait_until(lambda: f"{name} ready." in log.read_text(), 60)
            app = shop(broker.url, backend, broker.queue)
            yield SendingWorker(broker, backend, app, file, env)
            # A result that is collected later would open a new connection, to unsubscribe from its events.
            app.backend.result_consumer.cancel_for = lambda task_id: None
            gc.collect()
            app.backend.result_consumer.stop()
            app.backend.client.connection_pool.disconnect()
            app.close()
        finally:
            child.kill()


@pytest.fixture(params=["redis", "rabbitmq"])
def sending(request: pytest.FixtureRequest) -> Iterator[SendingWorker]:
    """Yields a worker whose results are in Redis."""
    with leased_redis() as url:
        if request.param == "redis":
            with sending_worker(Broker("redis", url), url) as worker:
                yield worker
        else:
            with swept_rabbitmq() as broker, sending_worker(broker, url) as worker:
                yield worker
