"""What an outage of the broker costs: whether events are lost, and how soon the backlog is published after its return.

    .venv/bin/python -m benchmarks.outage [--seconds 60] [--rate 200] [--json] [--plot DIR]

RabbitMQ is stopped while a writer goes on, then started again. The recovery lasts from the moment when the broker
accepts connections until every event that was committed before that moment is published. The baseline is the time that
a loop of send_task with confirm_publish takes for this number of messages.
"""

import time
from contextlib import ExitStack
from pathlib import Path
from statistics import median

import click
import msgspec
import psycopg
from rich.table import Table

from benchmarks import broker, figure, report, server
from benchmarks.bridge import Bridge, publishers
from benchmarks.broker import Arrivals
from benchmarks.pace import Pace, inserting
from tools.servers import RabbitMQ

_BEFORE = "select count(*) from bridge.waiting where at <= to_timestamp(%s)"
_LONGEST = 300.0


class Outage(msgspec.Struct):
    """The result of one outage. Times are in seconds."""

    backlog: int
    recovery: float
    loop: float
    committed: int = 0
    lost: int = 0
    repeated: int = 0
    dead_letters: int = 0
    curve: list[tuple[float, float]] = []
    """The number of waiting events, by seconds since the broker stopped."""


@report.command(__doc__, rounds=1)
@click.option("--seconds", default=60.0, show_default=True, help="How long the broker is away.")
@click.option("--rate", default=200.0, show_default=True, help="Changes per second.")
@click.option("--publishers", "number", type=int, help="Option of `bridge run`; not set by default.")
def main(seconds: float, rate: float, number: int | None, rounds: int, as_json: bool, plot: Path | None) -> None:
    """Runs the benchmark and prints it."""
    outages = [outage(seconds, rate, number) for _ in report.steps(range(rounds), "outage")]
    table = Table("backlog", "recovery s", "loop s", "ratio", "lost", "repeated", "dead letters", title="outage")
    for one in outages:
        numbers = [f"{one.recovery:.2f}", f"{one.loop:.2f}", f"{one.recovery / one.loop:.2f}"]
        table.add_row(str(one.backlog), *numbers, str(one.lost), str(one.repeated), str(one.dead_letters))
    if plot:
        title = f"The broker is away for {seconds:g} s at {rate:g} changes/s"
        labels = ("seconds since the broker stopped", "waiting events")
        figure.lines(plot, "outage", title, labels, {"bridge": outages[0].curve}, marks=False)
    result = {"seconds": seconds, "rate": rate, "recovery": median(one.recovery for one in outages)}
    report.publish("outage", {**result, "outages": msgspec.to_builtins(outages)}, [table], as_json)


def outage(seconds: float, rate: float, number: int | None) -> Outage:
    """Runs one outage with new servers."""
    with ExitStack() as stack:
        postgres = stack.enter_context(server.postgres())
        conn = stack.enter_context(server.connect(postgres))
        place = stack.enter_context(broker.running("rabbitmq"))
        assert isinstance(place.server, RabbitMQ)
        server.prepare(conn)
        place.purge()
        stack.enter_context(Bridge(postgres.dsn(), place.url, *publishers(number))).start()
        with Pace(inserting(stack.enter_context(server.connect(postgres))), rate) as pace:
            time.sleep(2)  # a while without an outage
            stopped = time.time()
            place.server.stop()
            curve = observe(conn, stopped, stopped + seconds)
            place.server.start()
            returned = time.time()
            [(backlog,)] = conn.execute(_BEFORE, [returned]).fetchall()
            curve += observe(conn, stopped, returned)
            recovered = time.time()
            curve += observe(conn, stopped, time.time() + 2)
        server.delivered_at(conn)
        [(dead_letters,)] = conn.execute("select sum(dead_letters)::int from bridge.status()").fetchall()
        with Arrivals(place) as arrivals:
            # The queue is read to its end. Events that have not come by then are lost.
            quiet = time.monotonic()
            count = -1
            while time.monotonic() - quiet < 3:
                if len(arrivals.times) != count:
                    count, quiet = len(arrivals.times), time.monotonic()
                time.sleep(0.1)  # nothing announces that no more messages come
        lost = len(pace.committed.keys() - arrivals.times.keys())
        found = Outage(backlog, recovered - returned, broker.loop(place, backlog, confirmed=True))
        found.committed, found.lost, found.repeated = len(pace.committed), lost, arrivals.repeated
        found.dead_letters, found.curve = dead_letters, curve
        return found


def observe(conn: psycopg.Connection, start: float, until: float) -> list[tuple[float, float]]:
    """Returns how many events wait, over time.

    Counts until the time `until`, or, if that is past, until all events from before it are published.
    """
    curve = []
    deadline = time.monotonic() + _LONGEST
    past = until <= time.time()
    while True:
        [(waiting,)] = conn.execute("select count(*) from bridge.waiting").fetchall()
        now = time.time()
        curve.append((round(now - start, 2), float(waiting)))
        if not past and now >= until:
            return curve
        if past and conn.execute(_BEFORE, [until]).fetchone() == (0,):
            return curve
        if past and time.monotonic() > deadline:
            raise SystemExit(f"{waiting} events still wait {_LONGEST:g} s after the broker's return")
        time.sleep(0.05 if past else 0.5)  # the distance of the points in the curve


if __name__ == "__main__":
    main()
