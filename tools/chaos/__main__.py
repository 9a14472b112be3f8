"""Makes random faults while changes are committed, and in the end accounts for every committed change.

Changes that a failover to an asynchronous standby loses are counted separately. During the faults, the definition of
the watched tables changes every few seconds.

The worker on Valkey starts only when the faults have ended. kombu's Redis transport takes a message off the list before
the worker has it, so a message can be lost if Valkey is killed in that moment, with any publisher. The worker on
RabbitMQ runs all the time.
"""

import random
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable

import click
import msgspec
import psycopg
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from tools.chaos.account import Account, balance, noted
from tools.chaos.fault import FAULTS
from tools.chaos.ledger import STREAMS, changes
from tools.chaos.migration import Migrator
from tools.chaos.system import System
from tools.chaos.writer import Writer

_WAITING = "select count(*) from bridge.waiting where at < %s"
_RECOVERY = 120.0
# Seconds; longer than a worker needs to start or to find its broker again.
_QUIET = 15.0
# Not one of FAULTS, since it runs beside them: the definition of the watched tables changes every few seconds.
_MIGRATIONS = "migrations"


@click.command(help=__doc__, context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--minutes", default=10.0, show_default=True, help="How long to make faults.")
@click.option("--seed", type=int, help="Repeat the random choices of an earlier run.")
@click.option("--writers", default=4, show_default=True, help="Number of sessions that write.")
@click.option(
    "--pause", default=0.02, show_default=True, help="Longest pause of a writer between transactions, in seconds."
)
@click.option("--between", default=3.0, show_default=True, help="Longest time between migrations, in seconds.")
@click.option(
    "--only", multiple=True, type=click.Choice([*FAULTS, _MIGRATIONS]), help="Make only these faults; may be repeated."
)
@click.option("--json", "as_json", is_flag=True)
def main(
    minutes: float,
    seed: int | None,
    writers: int,
    pause: float,
    between: float,
    only: tuple[str, ...],
    as_json: bool,
) -> None:
    """Runs the chaos. The exit code is 1 if a promise was broken."""
    seed = random.SystemRandom().randrange(10**6) if seed is None else seed
    print(f"seed {seed}", file=sys.stderr)
    with System() as system:
        system.start_worker("rabbitmq")
        stop = threading.Event()
        sessions = [Writer(system, seed * 100 + number, stop, pause) for number in range(writers)]
        migrator = Migrator(system, seed, stop, between)
        beside = [*sessions, migrator] if not only or _MIGRATIONS in only else sessions
        for thread in beside:
            thread.start()
        chosen = sorted(FAULTS.keys() & only if only else FAULTS)
        faults, longest = torment(system, chosen, random.Random(seed), minutes * 60)
        stop.set()
        for thread in beside:
            thread.join()
        system.start_worker("valkey")
        account = settle(system)
    surprises = [surprise for session in sessions for surprise in session.surprises] + migrator.refused
    for surprise in surprises:
        print(surprise, file=sys.stderr)
    result = {
        **msgspec.structs.asdict(account),
        "faults": dict(faults),
        "longest_outage_recovery_s": round(longest, 1),
        "seed": seed,
        "failed_transactions": sum(session.failures for session in sessions),
        "failed_by_us": len(surprises),
        "migrations": dict(migrator.done),
        "migrations_given_up": migrator.gave_way,
    }
    if as_json:
        click.echo(msgspec.json.encode(result))
    else:
        show(result)
    sys.exit(0 if account.balanced and not surprises and account.duplicates <= 500 * sum(faults.values()) else 1)


def torment(system: System, names: list[str], choice: random.Random, seconds: float) -> tuple[Counter[str], float]:
    """Makes one fault after the other. Usually it waits for the recovery, but sometimes the next fault comes earlier.

    Returns the number of each fault and the longest recovery in seconds.
    """
    faults: Counter[str] = Counter()
    longest = 0.0
    end = time.monotonic() + seconds
    with Progress(console=Console(stderr=True), transient=True) as progress:
        bar = progress.add_task("chaos", total=seconds)
        while (left := end - time.monotonic()) > 0:
            if not names:
                time.sleep(min(left, 1))
                continue
            name = choice.choice(names)
            progress.update(bar, completed=seconds - left, description=name)
            FAULTS[name](system, choice)
            faults[name] += 1
            took = recover(system) if choice.random() < 0.8 else 0.0
            longest = max(longest, took)
            progress.console.print(
                f"{seconds - left:6.1f} s  {name}" + (f", recovered in {took:.1f} s" if took else "")
            )
            time.sleep(choice.uniform(0, 1))  # a calm moment, so that the next fault finds work in progress
    return faults, longest


def recover(system: System) -> float:
    """Waits until all changes committed by now are delivered; returns the seconds that this took."""
    started = time.monotonic()
    before: object = None

    def delivered() -> bool:
        nonlocal before
        with system.connect() as conn:
            if before is None:
                [(before,)] = conn.execute("select clock_timestamp()").fetchall()
            return conn.execute(_WAITING, [before]).fetchone() == (0,)

    wait_for(delivered, _RECOVERY, "changes that were committed before the fault ended are not delivered")
    return time.monotonic() - started


def wait_for(done: Callable[[], bool], seconds: float, otherwise: str) -> None:
    """Waits until `done` returns true, asking ten times a second. A database that is away is asked again."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            if done():
                return
        except psycopg.OperationalError:
            pass
        if time.monotonic() > deadline:
            raise SystemExit(f"after {seconds:g} s: {otherwise}")
        time.sleep(0.1)


def settle(system: System) -> Account:
    """Waits until the log is delivered and the workers have recorded nothing new for _QUIET s; returns the account."""
    recover(system)
    size, quiet_since = -1, time.monotonic()
    with Progress(console=Console(stderr=True), transient=True) as progress:
        progress.add_task("waiting for the workers", total=None)
        while time.monotonic() - quiet_since < _QUIET:
            time.sleep(0.5)
            before, size = size, sum(system.notes(stream).stat().st_size for stream in STREAMS)
            if size != before:
                quiet_since = time.monotonic()
    return balance(changes(system.dsn), system.fallen, noted(system))


def show(result: dict[str, object]) -> None:
    """Prints the result as a table."""
    table = Table("", "", title="chaos", show_header=False)
    for name, value in result.items():
        table.add_row(name, ", ".join(f"{k} {v}" for k, v in value.items()) if isinstance(value, dict) else str(value))
    Console().print(table)


if __name__ == "__main__":
    main()
