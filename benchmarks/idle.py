"""What an idle bridge costs: its share of a processor, and the statements that it sends.

    .venv/bin/python -m benchmarks.idle [--streams 1,8] [--seconds 60] [--json] [--plot DIR]

The smallest number of streams is the baseline. The difference to it gives the cost of one more stream.
"""

import time
from contextlib import ExitStack
from pathlib import Path
from statistics import median

import click
from rich.table import Table

from benchmarks import broker, figure, report, server
from benchmarks.bridge import Bridge, publishers
from benchmarks.process import cpu_seconds


@report.command(__doc__, rounds=1)
@click.option("--streams", default="1,8", show_default=True, help="Numbers of streams.")
@click.option("--seconds", default=60.0, show_default=True)
@click.option("--publishers", "number", type=int, help="Option of `bridge run`; not set by default.")
def main(streams: str, seconds: float, number: int | None, rounds: int, as_json: bool, plot: Path | None) -> None:
    """Runs the benchmark and prints it."""
    numbers = sorted(int(text) for text in streams.split(","))
    found: dict[int, list[tuple[float, float]]] = {count: [] for count in numbers}
    for count in report.steps(report.interleaved(rounds, numbers), "idle"):
        found[count].append(rest(count, seconds, number))
    rows = []
    table = Table("streams", "CPU %", "statements / min", "statements / min / stream", title="an idle bridge")
    for count, values in found.items():
        share, statements = median(cpu for cpu, _ in values), median(calls for _, calls in values)
        rows.append({"streams": count, "cpu_percent": share, "statements_per_minute": statements})
        table.add_row(str(count), f"{share:.2f}", f"{statements:.1f}", f"{statements / count:.1f}")
    if plot:
        shares = {f"{row['streams']} streams": row["cpu_percent"] for row in rows}
        figure.bars(plot, "idle", "An idle bridge", "percent of one processor", shares)
    report.publish("idle", {"seconds": seconds, "rows": rows}, [table], as_json)


def rest(count: int, seconds: float, number: int | None) -> tuple[float, float]:
    """Returns the CPU in percent of one processor, and the statements in a minute."""
    with ExitStack() as stack:
        postgres = stack.enter_context(server.postgres())
        conn = stack.enter_context(server.connect(postgres))
        place = stack.enter_context(broker.running("valkey"))
        for each in range(count):
            server.prepare(conn, f"item_{each}", "default" if each == 0 else f"stream_{each}")
        bridge = stack.enter_context(Bridge(postgres.dsn(), place.url, *publishers(number)))
        bridge.start()
        time.sleep(5)  # the start is over then, and the bridge is idle
        calls, _ = server.statistics(conn, "%")
        cpu, started = cpu_seconds(bridge.pid), time.monotonic()
        time.sleep(seconds)  # the length of the measurement
        used, took = cpu_seconds(bridge.pid) - cpu, time.monotonic() - started
        return 100 * used / took, (server.statistics(conn, "%")[0] - calls) * 60 / took


if __name__ == "__main__":
    main()
