"""How fast the standby takes over when the owner of a stream is killed with SIGKILL.

    .venv/bin/python -m benchmarks.takeover [--kills 50] [--rate 50] [--json] [--plot DIR]

Two bridges serve one stream while a writer commits. After each kill the dead bridge is started again as the standby.
The time counts from the kill until the message of an event that was committed after the kill arrives. The baseline is
the latency without any kill.
"""

import time
from contextlib import ExitStack
from pathlib import Path

import click
from rich.table import Table

from benchmarks import broker, figure, report, server
from benchmarks.bridge import Bridge, publishers
from benchmarks.broker import Arrivals
from benchmarks.pace import Pace, inserting


@report.command(__doc__, rounds=1)
@click.option("--kills", default=50, show_default=True, help="Number of kills in each round.")
@click.option("--rate", default=50.0, show_default=True, help="Changes per second.")
@click.option("--broker", "name", type=click.Choice(broker.BROKERS), default="rabbitmq", show_default=True)
@click.option("--publishers", "number", type=int, help="Option of `bridge run`; not set by default.")
def main(kills: int, rate: float, name: str, number: int | None, rounds: int, as_json: bool, plot: Path | None) -> None:
    """Runs the benchmark and prints it."""
    waits: list[float] = []
    with ExitStack() as stack:
        postgres = stack.enter_context(server.postgres())
        conn = stack.enter_context(server.connect(postgres))
        place = stack.enter_context(broker.running(name))
        server.prepare(conn)
        place.purge()
        bridges = [
            stack.enter_context(Bridge(postgres.dsn(), place.url, *publishers(number))) for _ in ("owner", "standby")
        ]
        bridges[0].start()
        bridges[1].start("standby")
        arrivals = stack.enter_context(Arrivals(place))
        pace = stack.enter_context(Pace(inserting(stack.enter_context(server.connect(postgres))), rate))
        time.sleep(3)  # the baseline is measured in this time
        calm = latencies(pace, arrivals)
        for _ in report.steps(range(kills * rounds), "kills"):
            waits.append(takeover(bridges[0], pace, arrivals))
            bridges[0].start("standby")
            bridges.reverse()
        last = max(pace.committed)
        arrivals.wait_for(last)
        lost = sum(change not in arrivals.times for change in pace.committed if change <= last)
    result = {"takeover_ms": report.percentiles(waits), "calm_ms": report.percentiles(calm)}
    table = Table("", "p50 ms", "p99 ms", "max ms", title=f"{len(waits)} kills, {lost} events lost")
    for label, values in result.items():
        table.add_row(label.removesuffix("_ms"), *(f"{value:,.1f}" for value in values.values()))
    if plot:
        samples = {"kill to message": waits, "commit to message, no kill": calm}
        figure.cumulative(plot, "takeover", f"The owner is killed, {len(waits)} times", "milliseconds", samples)
    details = {"kills": len(waits), "rate": rate, "broker": name, "lost": lost, "repeated": arrivals.repeated}
    report.publish("takeover", {**details, **result}, [table], as_json)


def takeover(owner: Bridge, pace: Pace, arrivals: Arrivals) -> float:
    """Returns the milliseconds from the kill to the message of the first event committed after it."""
    killed = time.time()
    owner.kill()
    while not (after := [change for change, at in list(pace.committed.items())[-100:] if at > killed]):
        time.sleep(0.001)  # the thread records the times, so the moment of this look does not matter
    # Not the first change after the kill: it may have been committed before the kill.
    number = after[0] + 1
    arrived = arrivals.wait_for(number)
    owner.bury()
    return (arrived - killed) * 1000


def latencies(pace: Pace, arrivals: Arrivals) -> list[float]:
    """Returns the milliseconds from commit to message of all changes that have arrived."""
    return [(arrivals.times[n] - at) * 1000 for n, at in list(pace.committed.items()) if n in arrivals.times]


if __name__ == "__main__":
    main()
