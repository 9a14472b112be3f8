"""The parts of the demo: real processes, all of which end with the demo."""

import os
import re
import secrets
import signal
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Self, TypeVar

from demo.observer import Observer
from tools.servers import Child, Postgres, PrivateDirectory, StartError, Valkey

SHOP = Path(__file__).parent.parent
START_SECONDS = 60.0
COMMAND_SECONDS = 120.0
ADDRESS = re.compile(r"development server at (http://\S+?)/?\s")

OTHERS = ("DJANGO_", "BRIDGE_", "SHOP_")  # prefixes of settings for other programs, which ours must not get

T = TypeVar("T")
Report = Callable[[str, float], None]  # the name of a step and its duration in seconds


class Stack:
    user = "admin"

    def __init__(self, products: int, report: Report) -> None:
        self.password = secrets.token_urlsafe(9)
        self._products = products
        self._report = report
        self._parts = ExitStack()

    def __enter__(self) -> Self:
        try:
            self._start()
        except BaseException:
            self._parts.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._parts.close()

    def _start(self) -> None:
        # The column "committed at" shows PostgreSQL's commit timestamps.
        postgres = Postgres(settings={"track_commit_timestamp": "on"})
        self._step("PostgreSQL", lambda: self._parts.enter_context(postgres))
        self.valkey = self._step("Valkey, the broker", lambda: self._parts.enter_context(Valkey()))
        database, broker = postgres.dsn(), self.valkey.url()
        self._directory = self._parts.enter_context(PrivateDirectory())
        self._env = {
            **{name: value for name, value in os.environ.items() if not name.startswith(OTHERS)},
            "SHOP_DATABASE_URL": database,
            "SHOP_BROKER_URL": broker,
            "DJANGO_SUPERUSER_PASSWORD": self.password,
            "PYTHONPATH": str(SHOP),
            "PYTHONUNBUFFERED": "1",
        }
        # The worker starts first, since its imports take seconds. It needs no table before the first task.
        quiet = ("--without-gossip", "--without-mingle", "--without-heartbeat")
        worker = self._service("worker", "celery", "-A", "shop", "worker", "-c", "2", "-l", "INFO", *quiet)
        self._manage("migrate")()
        login = ("--noinput", "--username", self.user, "--email", "admin@shop.example")
        ended = [
            self._manage("createsuperuser", *login),
            self._manage("seed", "--products", str(self._products)),
        ]
        for wait in ended:
            wait()
        self.observer = self._parts.enter_context(Observer(database))
        self._run_bridge = ("bridge", "run", "--database-url", database, "--broker-url", broker)
        self._bridge = self._service("bridge", *self._run_bridge)
        serve = ("runserver", "--noreload", "--insecure", "127.0.0.1:0")
        server = self._service("server", "python", "manage.py", *serve)
        self._await("bridge run", self._bridge, self.observer.is_bridge_ready)
        self._await("Celery worker", worker, lambda: " ready." in worker.log.read_text())
        self._await("Django's server", server, lambda: _address(server) is not None)
        self.address = _address(server) or ""

    def freeze_bridge(self) -> None:
        """Stops the bridge in the middle of what it does: it publishes nothing more."""
        self._bridge.send(signal.SIGSTOP)

    def restart_bridge(self) -> None:
        """Kills the bridge as the system would (SIGKILL), and starts another one."""
        self._bridge.kill()
        self._bridge = self._service("bridge", *self._run_bridge)

    def _service(self, name: str, program: str, *arguments: str) -> Child:
        child = self._child(name, program, *arguments, last_signal=signal.SIGTERM)
        self._parts.callback(child.stop)
        return child

    def _manage(self, *arguments: str) -> Callable[[], None]:
        """Starts a command; returns a function that waits for its end."""
        name = f"manage.py {arguments[0]}"
        child = self._child(arguments[0], "python", "manage.py", *arguments)

        def wait() -> None:
            if child.wait(COMMAND_SECONDS):
                raise StartError(f"{name} failed\n{child.tail()}")

        return lambda: self._step(name, wait)

    def _child(self, name: str, program: str, *arguments: str, last_signal: signal.Signals = signal.SIGKILL) -> Child:
        found = Path(sys.executable).with_name(program)  # from this virtual environment, whatever PATH says
        log = self._directory.path / f"{name}.log"
        return Child([found, *arguments], self._directory, log=log, env=self._env, cwd=SHOP, last_signal=last_signal)

    def _await(self, name: str, child: Child, ready: Callable[[], bool]) -> None:
        self._step(name, lambda: child.wait_until(ready, START_SECONDS))

    def _step(self, name: str, act: Callable[[], T]) -> T:
        began = time.monotonic()
        done = act()
        self._report(name, time.monotonic() - began)
        return done


def _address(server: Child) -> str | None:
    # With port 0 the system chooses a port. The server logs it when it listens.
    found = ADDRESS.search(server.log.read_text())
    return found[1] if found else None
