"""The time from COMMIT to the start of the task in a real Celery worker (solo pool), at a steady rate of changes.

    .venv/bin/python -m benchmarks.latency [--rate 50] [--seconds 10] [--json] [--plot DIR]

bridge      the writer inserts a row and commits; the bridge wakes up, reads the event and publishes it
on_commit   the writer itself publishes after its commit, as transaction.on_commit(task.delay) does: the baseline

Both run in turn in every round, on the same server, broker and worker. The clock starts when COMMIT returns.
"""

import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import click
import psycopg
from celery import Celery
from rich.table import Table

from benchmarks import broker, figure, report, server
from benchmarks.bridge import Bridge, publishers
from benchmarks.broker import QUEUE, Broker
from benchmarks.pace import Pace, inserting
from tools.servers import Child, PrivateDirectory

WAYS = ("bridge", "on_commit")
_ROOT = Path(__file__).parent.parent


@report.command(__doc__)
@click.option("--rate", default=50.0, show_default=True, help="Changes per second.")
@click.option("--seconds", default=10.0, show_default=True, help="Length of each way in each round.")
@click.option("--brokers", default=",".join(broker.BROKERS), show_default=True)
@click.option("--publishers", "number", type=int, help="Option of `bridge run`; not set by default.")
def main(
    rate: float, seconds: float, brokers: str, number: int | None, rounds: int, as_json: bool, plot: Path | None
) -> None:
    """Runs the benchmark and prints it."""
    rows = []
    samples: dict[str, list[float]] = {}
    table = Table("broker", "way", "p50 ms", "p99 ms", "max ms", title=f"commit to start, {rate:g} changes/s")
    for name in brokers.split(","):
        times = measure(name, rate, seconds, rounds, number)
        found = {way: report.percentiles(values) for way, values in times.items()}
        found["difference"] = {key: found["bridge"][key] - found["on_commit"][key] for key in found["bridge"]}
        for way, values in found.items():
            rows.append({"broker": name, "way": way, "milliseconds": values})
            table.add_row(name, way, *(f"{value:.1f}" for value in values.values()))
        samples |= {f"{name}: {way}": values for way, values in times.items()}
    if plot:
        title = f"From commit to the task's start at {rate:g} changes/s"
        figure.cumulative(plot, "latency", title, "milliseconds", samples)
    report.publish("latency", {"rate": rate, "seconds": seconds, "rounds": rounds, "rows": rows}, [table], as_json)


def measure(name: str, rate: float, seconds: float, rounds: int, number: int | None) -> dict[str, list[float]]:
    """Returns the milliseconds of every change, by way."""
    times: dict[str, list[float]] = {way: [] for way in WAYS}
    with ExitStack() as stack:
        postgres = stack.enter_context(server.postgres())
        conn = stack.enter_context(server.connect(postgres))
        place = stack.enter_context(broker.running(name))
        server.prepare(conn)
        conn.execute("create table plain (id bigint primary key)")
        place.purge()
        stack.enter_context(Bridge(postgres.dsn(), place.url, *publishers(number))).start()
        notes = stack.enter_context(worker(place))
        app = Celery(broker=place.url, set_as_current=False)
        changes = {"bridge": inserting(conn), "on_commit": publishing(conn, app)}
        warm_up(changes, notes)
        first = 1
        for way in report.steps(report.interleaved(rounds, WAYS), name):
            with Pace(changes[way], rate, first) as pace:
                time.sleep(seconds)  # the length of the measurement
            starts = started(notes, max(pace.committed))
            times[way] += [(starts[n] - at) * 1000 for n, at in pace.committed.items()]
            first = max(pace.committed) + 1
        app.close()
    return times


def publishing(conn: psycopg.Connection, app: Celery) -> Callable[[int], float]:
    """Returns a change that inserts a row into the table without a watch and then publishes the task."""
    insert = inserting(conn, "plain")

    def change(number: int) -> float:
        committed = insert(number)
        app.send_task("bench.touch", [number], queue=QUEUE)
        return committed

    return change


def warm_up(changes: dict[str, Callable[[int], float]], notes: Path) -> None:
    """Makes one change each way, with numbers below zero, so that connections and caches are ready."""
    for number, change in enumerate(changes.values(), start=-len(changes)):
        change(number)
        started(notes, number)


def started(notes: Path, last: int) -> dict[int, float]:
    """Waits until the last task has started; returns the start of each task."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        lines, _, _ = notes.read_text().rpartition("\n")
        starts = {int(number): float(at) for number, at in (line.split() for line in lines.splitlines())}
        if last in starts:
            return starts
        time.sleep(0.1)  # the worker records the times, so the moment of this look does not matter
    raise SystemExit(f"the task of change {last} did not start within a minute")


@contextmanager
def worker(place: Broker) -> Iterator[Path]:
    """Runs a Celery worker; yields the file that it writes the starts of its tasks to."""
    with PrivateDirectory() as directory:
        notes = directory.path / "notes"
        notes.touch()
        env = {**os.environ, "BENCH_BROKER": place.url, "BENCH_NOTES": str(notes), "C_FORCE_ROOT": "1"}
        argv: list[str | Path] = [sys.executable, "-m", "celery", "-A", "benchmarks.worker", "worker", "--pool=solo"]
        argv += ["--queues", QUEUE, "--loglevel=warning", "--without-gossip", "--without-mingle", "--without-heartbeat"]
        child = Child(argv, directory, log=directory.path / "log", env=env, cwd=_ROOT)
        try:
            yield notes
        finally:
            child.kill()


if __name__ == "__main__":
    main()
