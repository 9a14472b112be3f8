"""How fast a waiting backlog is delivered, from the bridge's first look to the last event.

    .venv/bin/python -m benchmarks.drain [--events 200000] [--publishers 2] [--pgqueuer] [--json] [--plot DIR]

The events are captured updates, committed while no bridge runs: ten of each key, 10 rows in each transaction. The ways
for each broker:

bridge              `bridge run`; the broker confirms everything
bridge, N ...       `bridge run` with --publishers N
bridge, coalesced   ten events of a key become one task; the rate counts events
send_task           a loop of Celery's send_task with one producer; on RabbitMQ without confirms
confirmed           that loop with confirm_publish, so that it promises what the bridge promises: the baseline
reading             only the read side, without a bridge: reads windows and moves the position, publishes nothing
pgqueuer            a worker of pgqueuer empties its own queue of no-op jobs in batches of 100; it needs no broker
"""

import time
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from statistics import median

import anyio
import click
import msgspec
import psycopg
from rich.table import Table

from benchmarks import broker, figure, pgqueuer_drain, report, server
from benchmarks.bridge import Bridge, knows, publishers
from benchmarks.broker import QUEUE, Broker
from bridge.stream.event_log import EventLog
from tools.servers import Postgres

_WRITERS = 4
_REPEATS = 10
# Updates the rows from `first` to `last`, 10 in each transaction, each row `repeats` times.
_UPDATES = """
do $$
begin
    for repeat in 1..{repeats} loop
        for low in {first}..{last} by 10 loop
            update item set touched = touched + 1 where id between low and least(low + 9, {last});
            commit;
        end loop;
    end loop;
end
$$
"""
# If a broker can confirm, a loop without confirms is not a fair baseline.
_BASELINE = {"rabbitmq": "confirmed", "rabbitmq on disk": "confirmed", "valkey": "send_task"}


class Mode(msgspec.Struct, frozen=True):
    """One way on one broker."""

    broker: str
    way: str
    publishers: int | None = None
    coalesce: bool = False

    @property
    def label(self) -> str:
        return f"{self.broker}: {self.way}"


@report.command(__doc__)
@click.option("--events", default=200_000, show_default=True, help="Number of events in the backlog.")
@click.option("--messages", default=5_000, show_default=True, help="Messages in the loops of send_task.")
@click.option(
    "--brokers", default="rabbitmq,valkey", show_default=True, help="Others: memory (no broker), or an amqp:// URL."
)
@click.option("--publishers", "numbers", type=int, multiple=True, help="Also with N publishers; may be repeated.")
@click.option("--pgqueuer", "with_rival", is_flag=True, help="Also measure the library pgqueuer.")
def main(
    events: int, messages: int, brokers: str, numbers: tuple[int, ...], with_rival: bool, rounds: int, as_json: bool,
    plot: Path | None,
) -> None:  # fmt: skip
    """Runs the benchmark and prints it."""
    given = {"rabbitmq on disk" if "://" in name else name: name for name in brokers.split(",")}
    with ExitStack() as stack:
        postgres = stack.enter_context(server.postgres())
        conn = stack.enter_context(server.connect(postgres))
        places = {name: stack.enter_context(broker.running(kind)) for name, kind in given.items()}
        server.prepare(conn, rows=events // _REPEATS)
        modes = [mode for name in given for mode in modes_of(name, numbers, server.can_coalesce(conn))]
        modes.append(Mode("none", "reading"))
        if with_rival:
            modes.append(Mode("none", "pgqueuer"))
        rates: dict[Mode, list[float]] = {mode: [] for mode in modes}
        for mode in report.steps(report.interleaved(rounds, modes), "drain"):
            if mode.way == "pgqueuer":
                rates[mode].append(pgqueuer_drain.drain(postgres, events))
            elif mode.way == "reading":
                rates[mode].append(read(postgres, conn, events))
            elif mode.way in ("send_task", "confirmed"):
                seconds = broker.loop(places[mode.broker], messages, confirmed=mode.way == "confirmed")
                rates[mode].append(messages / seconds)
            else:
                rates[mode].append(drain(postgres, conn, places[mode.broker], mode, events))
    show(rates, events, rounds, as_json, plot)


def modes_of(name: str, numbers: Iterable[int], coalesce: bool) -> list[Mode]:
    """Returns all ways on this broker that this bridge has."""
    modes = [Mode(name, "bridge")]
    if knows("--publishers"):
        modes += [Mode(name, f"bridge, {number} publishers", publishers=number) for number in numbers]
    if coalesce:
        modes.append(Mode(name, "bridge, coalesced", coalesce=True))
    if name != "memory":
        modes.append(Mode(name, "send_task"))
    if name.startswith("rabbitmq"):
        modes.append(Mode(name, "confirmed"))
    return modes


def drain(postgres: Postgres, conn: psycopg.Connection, place: Broker, mode: Mode, events: int) -> float:
    """Returns the events per second, from the bridge's first look to the last event."""
    server.watch(conn, "item", "default", {"queue": QUEUE, **({"coalesce": True} if mode.coalesce else {})})
    place.purge()
    fill(postgres, events)
    conn.execute("vacuum analyze bridge.event")
    with Bridge(postgres.dsn(), place.url, *publishers(mode.publishers)) as bridge:
        bridge.start()
        delivered = server.delivered_at(conn)
        seconds = delivered - bridge.served_at()
    if place.url != "memory://":
        check(place.waiting(), events // _REPEATS if mode.coalesce else events, mode)
    place.purge()
    conn.execute("truncate bridge.event")
    conn.execute("vacuum item")
    return events / seconds


def read(postgres: Postgres, conn: psycopg.Connection, events: int) -> float:
    """Returns the events per second of the read side alone: it reads windows and moves the position, and no more."""
    fill(postgres, events)
    conn.execute("vacuum analyze bridge.event")

    async def deliver() -> int:
        async with EventLog.open(postgres.dsn(), "default", batch_size=500) as log:
            await log.own()
            count = 0
            while (batch := await log.read()).events:
                await log.move(batch.position)
                count += len(batch.events)
            await log.finish()
            return count

    started = time.perf_counter()
    count = anyio.run(deliver)
    seconds = time.perf_counter() - started
    if count != events:
        raise SystemExit(f"{count} events were read instead of {events}")
    conn.execute("truncate bridge.event")
    conn.execute("vacuum item")
    return events / seconds


def check(arrived: int, expected: int, mode: Mode) -> None:
    """Checks the number of messages. It may be larger with coalescing, which joins only events of one window."""
    if arrived < expected or (arrived > expected and not mode.coalesce):
        raise SystemExit(f"{mode.label}: {arrived} messages instead of {expected}")


def fill(postgres: Postgres, events: int) -> None:
    """Commits all events, in several sessions at once."""
    rows = events // _REPEATS

    def write(number: int) -> None:
        first, last = rows * number // _WRITERS + 1, rows * (number + 1) // _WRITERS
        with server.connect(postgres) as conn:
            conn.execute(_UPDATES.format(first=first, last=last, repeats=_REPEATS).encode())

    with ThreadPoolExecutor(_WRITERS) as pool:
        list(pool.map(write, range(_WRITERS)))


def show(rates: dict[Mode, list[float]], events: int, rounds: int, as_json: bool, plot: Path | None) -> None:
    """Prints the events per second, and their ratio to the baseline on the same broker."""
    medians = {mode: median(values) for mode, values in rates.items()}
    baselines = {mode.broker: rate for mode, rate in medians.items() if mode.way == _BASELINE.get(mode.broker)}
    table = Table("broker", "way", "events/s", "seconds", "ratio", title=f"{events:,} waiting events")
    rows = []
    for mode, rate in medians.items():
        ratio = rate / baselines[mode.broker] if mode.broker in baselines else None
        rows.append({"broker": mode.broker, "way": mode.way, "per_second": round(rate), "ratio": ratio})
        rows[-1]["each"] = [round(value) for value in rates[mode]]
        seconds = f"{events / rate:.1f}" if mode.way.startswith(("bridge", "pgq")) else ""
        table.add_row(mode.broker, mode.way, f"{rate:,.0f}", seconds, f"{ratio:.2f}" if ratio else "")
    if plot:
        values = {mode.label: rate for mode, rate in medians.items()}
        figure.bars(plot, "drain", f"Delivery of {events:,} waiting events", "events per second", values)
    report.publish("drain", {"events": events, "rounds": rounds, "rates": rows}, [table], as_json)


if __name__ == "__main__":
    main()
