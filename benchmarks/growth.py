"""How the costs of the writers and of the relay's look grow, with the number of watches and the size of the log.

    .venv/bin/python -m benchmarks.growth [--watches 1,10,100,1000] [--max-log 1e6] [--json] [--plot DIR]

watches  transactions per second of pgbench on a watched table, beside this number of watches on other tables
log      transactions per second, and the time of the relay's look for one new event, with this number of delivered
         events in the log

The smallest number is the baseline. It is measured in the same rounds.
"""

from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

import anyio
import click
import psycopg
from rich.table import Table

from benchmarks import figure, report, server
from benchmarks.pgbench import pgbench
from bridge.database.connect import connect
from bridge.database.query import query
from bridge.database.statement import statement
from tools.servers import Postgres

_ROWS = 100_000
_SCRIPT = f"\\set id random(1, {_ROWS})\nupdate item set touched = touched + 1 where id = :id;\n"
_LOOK = statement("read_window")
_EVENTS = """
    insert into bridge.event (stream, watch, op, key)
    select 'default', 'item', 'update', '[1]' from generate_series(1, %s)
"""
_LOOKS = 21

Cost = tuple[str, int, int]
"""What grows, its size, and the number of writers. 0 writers stands for the relay's look, in milliseconds."""


@report.command(__doc__, rounds=3)
@click.option("--watches", default="1,10,100,1000", show_default=True, help="Numbers of watches on other tables.")
@click.option(
    "--max-log", type=float, default=1e6, show_default=True, help="Events in the largest log, at least 10,000."
)
@click.option("--clients", default="1,8,64", show_default=True, help="Numbers of writers.")
@click.option("--seconds", default=3, show_default=True, help="Length of each run of pgbench.")
def main(
    watches: str, max_log: float, clients: str, seconds: int, rounds: int, as_json: bool, plot: Path | None
) -> None:
    """Runs the benchmark and prints it."""
    writers = [int(text) for text in clients.split(",")]
    logs = [10**power for power in range(4, 9) if 10**power <= max_log]
    sizes = [("watches", int(text)) for text in watches.split(",")] + [("log", size) for size in logs]
    costs: dict[Cost, list[float]] = {}
    with TemporaryDirectory() as directory:
        script = Path(directory, "update.sql")
        script.write_text(_SCRIPT)
        for what, size in report.steps(report.interleaved(rounds, sizes), "growth"):
            for key, value in measure(what, size, writers, script, seconds).items():
                costs.setdefault(key, []).append(value)
    medians = {key: median(values) for key, values in costs.items()}
    table = Table("what", "size", "writers", "result", "ratio", title="tps of writers; the look in ms")
    rows = []
    for (what, size, number), value in medians.items():
        ratio = value / next(first for (kind, _, of), first in medians.items() if (kind, of) == (what, number))
        rows.append({"what": what, "size": size, "writers": number, "value": value, "ratio": ratio})
        label, text = (str(number), f"{value:,.0f}") if number else ("look", f"{value:.3f}")
        table.add_row(what, f"{size:,}", label, text, f"{ratio:.2f}")
    if plot:
        draw(plot, medians, writers)
    report.publish("growth", {"rounds": rounds, "seconds": seconds, "rows": rows}, [table], as_json)


def measure(what: str, size: int, writers: Sequence[int], script: Path, seconds: int) -> dict[Cost, float]:
    """Measures all numbers of one size, on a new server."""
    found: dict[Cost, float] = {}
    with ExitStack() as stack:
        postgres: Postgres = stack.enter_context(server.postgres())
        conn = stack.enter_context(server.connect(postgres))
        server.prepare(conn, rows=_ROWS)
        if what == "watches":
            for number in range(size):
                server.prepare(conn, f"other_{number}")
        else:
            conn.execute(_EVENTS.encode(), [size])
            conn.execute("vacuum analyze bridge.event")
            conn.execute("checkpoint")  # writes what the filling left, which must not count for the writers
            found[what, size, 0] = look(postgres, conn)
        for number in writers:
            found[what, size, number] = pgbench(postgres, script, number, seconds)
    return found


def look(postgres: Postgres, conn: psycopg.Connection) -> float:
    """Returns the server's milliseconds for a look that finds one event behind all delivered ones."""
    [(seen,)] = conn.execute("select pg_current_snapshot()::text").fetchall()
    conn.execute("update item set touched = touched + 1 where id = 1")
    values = {"stream": "default", "seen": seen, "rows": 500}

    async def ask() -> list[float]:
        times: list[float] = []
        # This session has a relay's settings: with others the planner would choose another plan.
        async with connect(postgres.dsn(), "growth") as session:
            for _ in range(_LOOKS):
                [(plan,)] = await query(session, f"explain (analyze, timing off, format json)\n{_LOOK}", values)
                times.append(plan[0]["Planning Time"] + plan[0]["Execution Time"])
        return times

    return median(anyio.run(ask))


def draw(directory: Path, medians: dict[Cost, float], writers: Sequence[int]) -> None:
    """Draws three pictures: writers over watches, writers over the log, the look over the log."""
    for what, label in (("watches", "watches on other tables"), ("log", "events in the log")):
        series = {
            f"{number} writers": [
                (float(size), value) for (kind, size, of), value in medians.items() if (kind, of) == (what, number)
            ]
            for number in writers
        }
        title = f"Writers, by {label}"
        figure.lines(directory, f"growth-{what}", title, (label, "transactions per second"), series, log=True)
    looks = [(float(size), value) for (_, size, number), value in medians.items() if number == 0]
    labels = ("events in the log", "milliseconds")
    figure.lines(directory, "growth-look", "The relay's look", labels, {"look": looks}, log=True)


if __name__ == "__main__":
    main()
