"""Tasks sent in a transaction: the cost of a call, the time to the broker, and the drain of many calls.

    pip install django-celery-outbox        # the rival, beside the development environment
    .venv/bin/python -m benchmarks.sending [--calls 200] [--many 2000] [--broker valkey] [--json]

bridge      `delay()` of django_app.celery.TransactionalTask inside atomic(); `bridge run` publishes
outbox      `delay()` of django-celery-outbox inside atomic(); its relay publishes (defaults, but --idle-time as given)
on_commit   `delay()` of Celery in transaction.on_commit, which publishes in the process itself: not durable

All run in turn in every round, on the same server and broker. cost: microseconds for each call, in transactions of
--calls calls, with the commit. latency: milliseconds from before the COMMIT of one call until a consumer has
the message. drain: messages per second from before the COMMIT of --many calls until a consumer has the last one.
"""

import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from itertools import count
from pathlib import Path
from statistics import median
from typing import Any

import click
import django
import psycopg
from django.core.management import call_command
from django.db import transaction
from rich.table import Table

from benchmarks import broker, report, server
from benchmarks.bridge import Bridge
from benchmarks.broker import Arrivals
from tools.servers import Child, PrivateDirectory

WAYS = ("bridge", "outbox", "on_commit")
_ROOT = Path(__file__).parent.parent


@report.command(__doc__, rounds=3)
@click.option("--calls", default=200, show_default=True, help="Calls in a transaction whose cost is measured.")
@click.option("--many", default=2000, show_default=True, help="Calls in the transaction that is drained.")
@click.option("--single", default=20, show_default=True, help="Transactions with one call, for the latency.")
@click.option("--idle-time", default=1.0, show_default=True, help="How often the rival's relay looks, in seconds.")
@click.option("--broker", "name", default="valkey", show_default=True)
def main(
    calls: int, many: int, single: int, idle_time: float, name: str, rounds: int, as_json: bool, plot: Path | None
) -> None:
    """Runs the benchmark and prints it."""
    found: dict[str, dict[str, list[float]]] = {way: {"cost": [], "latency": [], "drain": []} for way in WAYS}
    with project(name, idle_time) as (sends, arrivals):
        numbers = count()
        for way in report.steps(report.interleaved(rounds, WAYS), "sending"):
            cost(sends[way], numbers, arrivals, calls)  # warms up
            found[way]["cost"].append(cost(sends[way], numbers, arrivals, calls))
            found[way]["latency"] += [latency(sends[way], numbers, arrivals) for _ in range(single)]
            found[way]["drain"].append(drain(sends[way], numbers, arrivals, many))
    rows = [
        {
            "way": way,
            "cost_us": median(values["cost"]),
            "latency_ms": report.percentiles(values["latency"]),
            "drain_per_second": median(values["drain"]),
        }
        for way, values in found.items()
    ]
    table = Table("way", "us a call", "latency p50 ms", "p99 ms", "drained /s", title=f"sending, {name}")
    for row in rows:
        slow: Any = row["latency_ms"]
        table.add_row(
            str(row["way"]),
            f"{row['cost_us']:.0f}",
            f"{slow['p50']:.1f}",
            f"{slow['p99']:.1f}",
            f"{row['drain_per_second']:.0f}",
        )
    report.publish("sending", {"calls": calls, "many": many, "rounds": rounds, "rows": rows}, [table], as_json)


Send = Callable[[int], object]


@contextmanager
def project(name: str, idle_time: float) -> Iterator[tuple[dict[str, Send], Arrivals]]:
    """Starts the servers, the bridge and the rival's relay; yields the three ways to send, and a consumer."""
    with ExitStack() as stack:
        postgres = stack.enter_context(server.postgres())
        place = stack.enter_context(broker.running(name))
        place.purge()
        os.environ |= {
            "SENDING_DATABASE": postgres.dsn(),
            "SENDING_BROKER": place.url,
            "DJANGO_SETTINGS_MODULE": "benchmarks.sending_project",
        }
        apps = _apps()
        stack.enter_context(Bridge(postgres.dsn(), place.url)).start()
        stack.enter_context(relay(idle_time))
        arrivals = Arrivals(place)
        stack.enter_context(arrivals)
        yield {way: _sender(way, apps[way]) for way in WAYS}, arrivals


def _apps() -> dict[str, Any]:
    """Migrates the database, and returns the app of each way."""
    django.setup()
    call_command("migrate", verbosity=0)
    from benchmarks import sending_project  # noqa: PLC0415 - it needs the variables that are set above

    with psycopg.connect(os.environ["SENDING_DATABASE"], autocommit=True) as connection:
        connection.execute("select bridge.allow('bench.touch')")
    return {"bridge": sending_project.ours, "outbox": sending_project.outbox, "on_commit": sending_project.celery}


def _sender(way: str, app: Any) -> Send:
    task = app.tasks["bench.touch"]
    if way == "on_commit":
        return lambda number: transaction.on_commit(lambda: task.delay(number))
    send: Send = task.delay
    return send


@contextmanager
def relay(idle_time: float) -> Iterator[None]:
    """Runs the rival's relay."""
    with PrivateDirectory() as directory:
        argv = [sys.executable, "-m", "django", "celery_outbox_relay", f"--idle-time={idle_time}"]
        child = Child(argv, directory, log=directory.path / "log", env=dict(os.environ), cwd=_ROOT)
        try:
            yield
        finally:
            child.kill()


def cost(send: Send, numbers: Iterator[int], arrivals: Arrivals, calls: int) -> float:
    """Returns the microseconds of each call."""
    started = time.perf_counter()
    with transaction.atomic():
        for _ in range(calls):
            last = next(numbers)
            send(last)
    seconds = time.perf_counter() - started
    arrivals.wait_for(last)
    return seconds / calls * 1e6


def latency(send: Send, numbers: Iterator[int], arrivals: Arrivals) -> float:
    """Returns the milliseconds from before the COMMIT until the message has arrived."""
    number = next(numbers)
    with transaction.atomic():
        send(number)
        ended = time.time()  # on_commit publishes before `atomic` ends
    return (arrivals.wait_for(number) - ended) * 1000


def drain(send: Send, numbers: Iterator[int], arrivals: Arrivals, many: int) -> float:
    """Returns the messages per second, until the last of many calls has arrived."""
    with transaction.atomic():
        for _ in range(many):
            last = next(numbers)
            send(last)
        ended = time.time()
    return many / (arrivals.wait_for(last, 120) - ended)


if __name__ == "__main__":
    main()
