"""Whether a long transaction slows the relay down: its reads and moves are timed while one holds the xmin horizon.

    .venv/bin/python -m benchmarks.horizon [--minutes 10] [--rate 500] [--json] [--plot DIR]

pg_stat_statements measures the bridge's statements in windows of ten seconds, while a writer goes on. The first tenth
of the windows is the baseline of the last tenth.
"""

import time
from contextlib import ExitStack
from pathlib import Path
from statistics import median

import click
from rich.table import Table

from benchmarks import broker, figure, report, server
from benchmarks.bridge import Bridge, publishers
from benchmarks.pace import Pace, inserting

_STATEMENTS = {"read": "%from bridge.event%limit%", "move": "%update bridge.position%"}


@report.command(__doc__, rounds=1)
@click.option("--minutes", default=10.0, show_default=True, help="How long the transaction stays open.")
@click.option("--rate", default=500.0, show_default=True, help="Changes per second.")
@click.option("--window", default=10.0, show_default=True, help="Seconds of one measurement.")
@click.option("--publishers", "number", type=int, help="Option of `bridge run`; not set by default.")
def main(
    minutes: float, rate: float, window: float, number: int | None, rounds: int, as_json: bool, plot: Path | None
) -> None:
    """Runs the benchmark and prints it."""
    windows = max(2, round(minutes * 60 / window))
    runs = [observe(windows, window, rate, number) for _ in range(rounds)]
    table = Table("statement", "begin us", "end us", "ratio", title=f"a transaction open for {minutes:g} minutes")
    rows = []
    for name in _STATEMENTS:
        # The median of each window over the rounds.
        curve = [median(run[name][each] for run in runs) for each in range(windows)]
        part = max(1, windows // 10)
        begin, end = median(curve[:part]), median(curve[-part:])
        rows.append({"statement": name, "begin_us": begin, "end_us": end, "ratio": end / begin, "windows_us": curve})
        table.add_row(name, f"{begin:.0f}", f"{end:.0f}", f"{end / begin:.2f}")
    if plot:
        series = {name: [(window * each, run) for each, run in enumerate(runs[0][name])] for name in _STATEMENTS}
        labels = ("seconds since the transaction began", "microseconds a statement")
        figure.lines(plot, "horizon", f"A long transaction beside {rate:g} changes/s", labels, series, marks=False)
    report.publish("horizon", {"minutes": minutes, "rate": rate, "window": window, "rows": rows}, [table], as_json)


def observe(windows: int, seconds: float, rate: float, number: int | None) -> dict[str, list[float]]:
    """Returns the microseconds of a call, by statement and window."""
    found: dict[str, list[float]] = {name: [] for name in _STATEMENTS}
    with ExitStack() as stack:
        postgres = stack.enter_context(server.postgres())
        conn = stack.enter_context(server.connect(postgres))
        place = stack.enter_context(broker.running("valkey"))
        server.prepare(conn)
        place.purge()
        stack.enter_context(Bridge(postgres.dsn(), place.url, *publishers(number))).start()
        stack.enter_context(Pace(inserting(stack.enter_context(server.connect(postgres))), rate))
        time.sleep(5)  # the statistics of an empty log would not be a fair baseline
        holder = stack.enter_context(server.connect(postgres))
        holder.execute("begin isolation level repeatable read")
        holder.execute("select pg_current_xact_id()")
        for _ in report.steps(range(windows), "horizon"):
            before = {name: server.statistics(conn, pattern) for name, pattern in _STATEMENTS.items()}
            time.sleep(seconds)  # the length of a measurement
            place.purge()
            for name, pattern in _STATEMENTS.items():
                calls, milliseconds = server.statistics(conn, pattern)
                if calls == before[name][0]:
                    raise SystemExit(f"no calls of {name!r}: correct its pattern in benchmarks/horizon.py")
                found[name].append((milliseconds - before[name][1]) * 1000 / (calls - before[name][0]))
    return found


if __name__ == "__main__":
    main()
