"""Zoo: everything that runs - a PostgreSQL, two brokers, two bridges a stream, a worker a broker."""

import os
import signal
import sys
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Self

import psycopg
from embedded import Child, Postgres, PrivateDirectory, RabbitMQ, Valkey

from bridge import schema

STREAMS = ("rabbitmq", "valkey")
_BIN = Path(sys.executable).parent
_TABLES = """
    create table {0} (id bigserial primary key, version int not null default 1);
    create table {0}_ledger (id bigint, version int, operation text, at timestamptz default clock_timestamp());
    insert into {0} select from generate_series(1, 2000);
    select bridge.watch(
        '{0}', '{0}', 'chaos.note', data => '{{version}}', stream => '{0}', options => '{{"call": "event"}}'
    );
"""


class Bridge:
    """One `bridge run` for one stream; the stream has two of them."""

    def __init__(self, stream: str, number: int, argv: list[str | Path], directory: PrivateDirectory) -> None:
        self.name = f"{stream}-{number}"
        self.stream = stream
        self._argv = argv
        self._directory = directory
        self.log = directory.path / f"bridge-{self.name}.log"
        self.child = self._start()

    def again(self) -> None:
        """Started again after it has ended."""
        self.child = self._start()

    def _start(self) -> Child:
        return Child(self._argv, self._directory, log=self.log)


class Zoo:
    """All processes; their end is this context's end."""

    def __init__(self) -> None:
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            self.directory = PrivateDirectory()
            stack.callback(self.directory.remove)
            # Also with fsync off, what was committed survives a killed server: the kernel has it.
            self.postgres = stack.enter_context(Postgres(settings={"synchronous_commit": "on"}))
            self.rabbitmq = stack.enter_context(RabbitMQ())
            self.valkey = stack.enter_context(Valkey(persistent=True))
            self.urls = {"rabbitmq": self.rabbitmq.url, "valkey": self.valkey.url()}
            with self.connect() as conn:
                conn.execute(schema.read().encode())
                for stream in STREAMS:
                    conn.execute(_TABLES.format(stream).encode())
            self.bridges = [self._bridge(stream, number) for stream in STREAMS for number in (1, 2)]
            stack.callback(self._stop_bridges)
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    def connect(self) -> psycopg.Connection:
        """The caller closes it."""
        return psycopg.connect(self.postgres.dsn(), autocommit=True, connect_timeout=5)

    def notes(self, stream: str) -> Path:
        """Where the worker of that broker writes."""
        return self.directory.path / f"notes-{stream}"

    def start_worker(self, stream: str) -> Child:
        """A real Celery worker on the stream's broker."""
        self.notes(stream).touch()
        env = {
            **os.environ,
            "CHAOS_BROKER": self.urls[stream],
            "CHAOS_NOTES": str(self.notes(stream)),
            "C_FORCE_ROOT": "1",
        }
        argv: list[str | Path] = [_BIN / "celery", "-A", "monkey.worker", "worker", "--pool=solo", "--loglevel=warning"]
        argv += [f"--hostname=chaos-{stream}@localhost", "--without-gossip", "--without-mingle", "--without-heartbeat"]
        log = self.directory.path / f"worker-{stream}.log"
        child = Child(argv, self.directory, log=log, env=env, cwd=Path(__file__).parent.parent)
        self._stack.callback(child.kill)
        return child

    def _bridge(self, stream: str, number: int) -> Bridge:
        argv: list[str | Path] = [
            *(_BIN / "bridge", "run", "--database-url", self.postgres.dsn(), "--broker-url", self.urls[stream]),
            *("--stream", stream, "--log-format", "json"),
        ]
        return Bridge(stream, number, argv, self.directory)

    def _stop_bridges(self) -> None:
        for bridge in self.bridges:
            bridge.child.send(signal.SIGCONT)
            bridge.child.kill()
