"""System: all processes: PostgreSQL and a standby, two brokers, two bridges for each stream, two workers."""

import os
import signal
import sys
import time
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Self

import psycopg

from bridge.database import schema
from tools.chaos.ledger import STREAMS, Change
from tools.chaos.pair import Pair
from tools.servers import Child, Postgres, PrivateDirectory, RabbitMQ, Valkey

_BIN = Path(sys.executable).parent
_TIMELINE = """
    create function timeline() returns int language sql stable
    as $$ select ('x' || left(pg_walfile_name(pg_current_wal_lsn()), 8))::bit(32)::int $$
"""
# The application writes through a view, since PostgreSQL keeps views working when columns are renamed.
_TABLES = """
    create table {0} (
        id bigserial primary key, version int not null default 1, price numeric(12,2) not null default 1,
        note text default 'new'
    );
    create view {0}_rows as select id, version from {0};
    create table {0}_ledger (
        id bigint, version bigint, operation text, timeline int default current_setting('bridge.context')::int
    );
    insert into {0} select from generate_series(1, 2000);
"""
# The watch `valkey` names columns in its triggers, where PostgreSQL records a dependency on them. The watch `rabbitmq`
# does not. Both carry columns in `data`.
WATCHES = {
    "rabbitmq": """
        select bridge.watch(
            'rabbitmq', 'rabbitmq', 'chaos.note', data => '{version,price,note}', stream => 'rabbitmq',
            options => '{"call": "event"}'
        )
    """,
    "valkey": """
        select bridge.watch(
            'valkey', 'valkey', 'chaos.note', columns => '{version,price}', data => '{version,price,note}',
            condition => 'coalesce(new.price, old.price) > 0', stream => 'valkey', options => '{"call": "event"}'
        )
    """,
}

_RECOVERY_SECONDS = 30.0


class Bridge:
    """One of the two `bridge run` processes of a stream."""

    def __init__(self, stream: str, number: int, argv: list[str | Path], directory: PrivateDirectory) -> None:
        self.name = f"{stream}-{number}"
        self.stream = stream
        self._argv = argv
        self._directory = directory
        self.log = directory.path / f"bridge-{self.name}.log"
        self.child = self._start()

    def again(self) -> None:
        """Starts the bridge again after it has ended."""
        self.child = self._start()

    def _start(self) -> Child:
        return Child(self._argv, self._directory, log=self.log)


class System:
    """Runs all processes; they end when this context ends."""

    def __init__(self) -> None:
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            self.directory = PrivateDirectory()
            stack.callback(self.directory.remove)
            self._pair = Pair(self.directory.path / "primary")
            stack.callback(self._pair.close)
            self._pair.start()
            self.fallen: set[Change] = set()
            self.rabbitmq = stack.enter_context(RabbitMQ())
            self.valkey = stack.enter_context(Valkey(persistent=True))
            self.urls = {"rabbitmq": self.rabbitmq.url, "valkey": self.valkey.url()}
            with self.connect() as conn:
                conn.execute(schema.read().encode())
                conn.execute(_TIMELINE)
                for stream in STREAMS:
                    conn.execute(_TABLES.format(stream).encode())
                    conn.execute(WATCHES[stream].encode())
            self.bridges = [self._bridge(stream, number) for stream in STREAMS for number in (1, 2)]
            stack.callback(self._stop_bridges)
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    @property
    def postgres(self) -> Postgres:
        """The current primary."""
        return self._pair.primary

    @property
    def dsn(self) -> str:
        """The address for all clients."""
        return self._pair.dsn()

    def connect(self) -> psycopg.Connection:
        """Connects to the primary. The caller closes the connection."""
        deadline = time.monotonic() + _RECOVERY_SECONDS
        while True:
            try:
                return psycopg.connect(self.dsn, autocommit=True, connect_timeout=5)
            except psycopg.OperationalError:  # the server may still recover from the last fault
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.1)

    def cut_standby_off(self) -> None:
        """Cuts the standby off: a failover loses what is committed from now on."""
        self._pair.cut_off()

    def fail_over(self) -> None:
        """Fails over to the standby, and adds the lost changes to `fallen`."""
        self.fallen |= self._pair.fail_over()

    def notes(self, stream: str) -> Path:
        """Returns the file that the worker of this stream writes."""
        return self.directory.path / f"notes-{stream}"

    def start_worker(self, stream: str) -> Child:
        """Starts a real Celery worker on the stream's broker."""
        self.notes(stream).touch()
        env = {
            **os.environ,
            "CHAOS_BROKER": self.urls[stream],
            "CHAOS_NOTES": str(self.notes(stream)),
            "C_FORCE_ROOT": "1",
        }
        argv: list[str | Path] = [
            _BIN / "celery",
            "-A",
            "tools.chaos.worker",
            "worker",
            "--pool=solo",
            "--loglevel=warning",
        ]
        argv += [f"--hostname=chaos-{stream}@localhost", "--without-gossip", "--without-mingle", "--without-heartbeat"]
        log = self.directory.path / f"worker-{stream}.log"
        child = Child(argv, self.directory, log=log, env=env, cwd=Path(__file__).parent.parent)
        self._stack.callback(child.kill)
        return child

    def _bridge(self, stream: str, number: int) -> Bridge:
        argv: list[str | Path] = [
            *(_BIN / "bridge", "run", "--database-url", self.dsn, "--broker-url", self.urls[stream]),
            *("--stream", stream, "--log-format", "json"),
        ]
        return Bridge(stream, number, argv, self.directory)

    def _stop_bridges(self) -> None:
        for bridge in self.bridges:
            bridge.child.send(signal.SIGCONT)
            bridge.child.kill()
