"""From COMMIT to the message in the broker, the bridge asleep before every change.

    .venv/bin/python -m benchmarks.latency [--changes 200] [--broker URL] [--json]

bridge      a row is updated and committed; the bridge wakes up, reads and publishes it
on_commit   the writer publishes by itself after its commit: what transaction.on_commit(task.delay) does, the baseline

Both take turns, change by change, against the same server, broker and consumer.
"""

import secrets
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from statistics import median, quantiles

import click
import kombu
import msgspec
import psycopg
from celery import Celery
from rich.console import Console
from rich.progress import track
from rich.table import Table

sys.path.insert(0, str(Path(__file__).parent.parent / "scripts"))

from embedded import Postgres, Valkey

from bridge import schema

QUEUE = f"bridge-latency-{secrets.token_hex(4)}"
WAYS = ("bridge", "on_commit")


@click.command(help=__doc__.splitlines()[0] if __doc__ else None)
@click.option("--changes", default=200, show_default=True, help="Each way.")
@click.option("--broker", help="Broker URL; by default a private Valkey.")
@click.option("--json", "as_json", is_flag=True)
def main(changes: int, broker: str | None, as_json: bool) -> None:
    """Runs the benchmark and prints it."""
    times: dict[str, list[float]] = {way: [] for way in WAYS}
    with ExitStack() as stack:
        server = stack.enter_context(Postgres())
        url = broker or stack.enter_context(Valkey()).url()
        conn = stack.enter_context(psycopg.connect(server.dsn(), autocommit=True))
        prepare(conn)
        stack.enter_context(bridge(server.dsn(), url))
        receive = stack.enter_context(consumer(url))
        app = Celery(broker=url, set_as_current=False)
        for _ in track(range(changes), "changes", console=Console(stderr=True)):
            for way in WAYS:
                wait_until_asleep(conn)
                committed = change(conn, "item" if way == "bridge" else "plain")
                if way == "on_commit":
                    app.send_task("touch", [1], queue=QUEUE)
                receive()
                times[way].append((time.perf_counter() - committed) * 1000)
    report = {way: {"p50": median(values), "p99": quantiles(values, n=100)[98]} for way, values in times.items()}
    if as_json:
        click.echo(msgspec.json.encode({"changes": changes, "milliseconds": report}))
        return
    table = Table("way", "p50 ms", "p99 ms", title="commit to message")
    for way, values in report.items():
        table.add_row(way, f"{values['p50']:.1f}", f"{values['p99']:.1f}")
    Console().print(table)


def prepare(conn: psycopg.Connection) -> None:
    """Two tables; only one is watched."""
    conn.execute(schema.read().encode())
    for name in ("item", "plain"):
        conn.execute(f"create table {name} (id int primary key, touched int)".encode())
        conn.execute(f"insert into {name} values (1, 0)".encode())
    options = msgspec.json.encode({"queue": QUEUE}).decode()
    conn.execute("select bridge.watch('item', 'item', 'touch', options => %s::jsonb)", [options])


def change(conn: psycopg.Connection, table: str) -> float:
    """Commits an update and returns when that was."""
    conn.execute(f"update {table} set touched = touched + 1 where id = 1".encode())
    return time.perf_counter()


@contextmanager
def bridge(dsn: str, url: str) -> Iterator[None]:
    command = [
        sys.executable,
        "-m",
        "bridge",
        "run",
        "--database-url",
        dsn,
        "--broker-url",
        url,
        "--log-level",
        "warning",
    ]
    process = subprocess.Popen(command)
    try:
        yield
    finally:
        process.terminate()
        process.wait(30)


@contextmanager
def consumer(url: str) -> Iterator[Callable[[], None]]:
    """Yields a function that waits for the next message and takes it."""
    with kombu.Connection(url) as connection:
        taker = kombu.Consumer(connection.channel(), kombu.Queue(QUEUE))
        got: list[object] = []

        def take(body: object, message: kombu.Message) -> None:
            message.ack()
            got.append(body)

        taker.register_callback(take)
        taker.consume()

        def receive() -> None:
            while not got:
                connection.drain_events(timeout=30)
            got.clear()

        yield receive
        taker.cancel()
        kombu.Queue(QUEUE)(connection.default_channel).delete()


def wait_until_asleep(conn: psycopg.Connection) -> None:
    """A change that comes while the relay is awake would be read without any wake-up."""
    deadline = time.monotonic() + 30
    while not conn.execute("select asleep from bridge.status()").fetchall()[0][0]:
        if time.monotonic() > deadline:
            raise SystemExit("the bridge does not fall asleep")
        time.sleep(0.001)


if __name__ == "__main__":
    main()
