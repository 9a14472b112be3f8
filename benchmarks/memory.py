"""One huge transaction: the bridge's peak memory, and the latency of another stream meanwhile.

    .venv/bin/python -m benchmarks.memory [--rows 1000000] [--json] [--plot DIR]

The stream `default` gets the rows in one transaction. The stream `other` gets a change every 100 ms. The latency from
commit to message in `other` before that transaction is the baseline of the latency while the rows are delivered.
"""

import time
from contextlib import ExitStack
from pathlib import Path
from statistics import median

import click
import msgspec
from rich.table import Table

from benchmarks import broker, figure, report, server
from benchmarks.bridge import Bridge, publishers
from benchmarks.broker import Arrivals
from benchmarks.pace import Pace, inserting
from benchmarks.process import MemoryWatch

_OTHER = "bench-other"
_MEGABYTE = 1e6


class Round(msgspec.Struct):
    """The result of one transaction: seconds, bytes, and milliseconds of each change in the other stream."""

    seconds: float
    peak: int
    processes: int
    before: list[float]
    during: list[float]


@report.command(__doc__, rounds=1)
@click.option("--rows", default=1_000_000, show_default=True)
@click.option("--calm", default=10.0, show_default=True, help="Length of the baseline in seconds.")
@click.option("--broker", "name", type=click.Choice(broker.BROKERS), default="rabbitmq", show_default=True)
@click.option("--publishers", "number", type=int, help="Option of `bridge run`; not set by default.")
def main(rows: int, calm: float, name: str, number: int | None, rounds: int, as_json: bool, plot: Path | None) -> None:
    """Runs the benchmark and prints it."""
    done = [measure(rows, calm, name, number) for _ in report.steps(range(rounds), "memory")]
    before = report.percentiles(value for one in done for value in one.before)
    during = report.percentiles(value for one in done for value in one.during)
    peak, seconds = median(one.peak for one in done), median(one.seconds for one in done)
    ratios = {key: during[key] / before[key] for key in before}
    title = f"{rows:,} rows at once: {seconds:.1f} s, peak {peak / _MEGABYTE:.0f} MB in {done[0].processes} processes"
    table = Table("other stream", "p50 ms", "p99 ms", "max ms", title=title)
    for label, values in (("before", before), ("during", during), ("ratio", ratios)):
        table.add_row(label, *(f"{value:,.1f}" for value in values.values()))
    if plot:
        samples = {"before": done[0].before, "during": done[0].during}
        figure.cumulative(plot, "memory", f"Another stream beside {title}", "ms, commit to message", samples)
    result = {"rows": rows, "broker": name, "peak_bytes": peak, "seconds": seconds, "per_second": rows / seconds}
    report.publish("memory", {**result, "before": before, "during": during, "ratios": ratios}, [table], as_json)


def measure(rows: int, calm: float, name: str, number: int | None) -> Round:
    """Runs one round with new servers, since a process's peak memory never falls again."""
    with ExitStack() as stack:
        postgres = stack.enter_context(server.postgres())
        conn = stack.enter_context(server.connect(postgres))
        place = stack.enter_context(broker.running(name))
        server.prepare(conn)
        server.prepare(conn, "other", "other", queue=_OTHER)
        place.purge()
        place.purge(_OTHER)
        bridge = stack.enter_context(Bridge(postgres.dsn(), place.url, *publishers(number)))
        bridge.start()
        memory = stack.enter_context(MemoryWatch(bridge.pid))
        arrivals = stack.enter_context(Arrivals(place, _OTHER))
        pace = stack.enter_context(Pace(inserting(stack.enter_context(server.connect(postgres)), "other"), 10))
        time.sleep(calm)  # the length of the baseline
        conn.execute("insert into item select generate_series(1, %s)", [rows])
        started = time.time()
        delivered = server.delivered_at(conn)
        arrivals.wait_for(max(pace.committed))
        memory.look()
        times = [(at, (arrivals.times[n] - at) * 1000) for n, at in list(pace.committed.items()) if n in arrivals.times]
        first = min(pace.committed.values())
        before = [took for at, took in times if at < first + calm - 1]
        during = [took for at, took in times if started <= at <= delivered]
        return Round(delivered - started, memory.peak, memory.processes, before, during)


if __name__ == "__main__":
    main()
