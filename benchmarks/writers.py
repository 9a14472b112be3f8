"""What capture costs the writers: transactions per second of pgbench, each a single-row UPDATE.

    .venv/bin/python -m benchmarks.writers [--clients 1,8,32,64] [--rounds 5] [--seconds 5] [--json] [--plot DIR]
    git show HEAD~5:triggers.sql >/tmp/old.sql; .venv/bin/python -m benchmarks.writers --against /tmp/old.sql --fsync

Every round runs all modes one after the other, so that a noisy machine affects all of them. The median is reported.

bare          the table without any trigger: the baseline
non-matching  a watch on a column that the update does not change
any-column    a watch without columns, so whole rows are compared
unchanged     such a watch with the option `unchanged`, which compares nothing
named-only    a non-matching watch with the option `named_only`: PostgreSQL looks only at the SET list
awake         a matching watch while no relay sleeps: an event row, no NOTIFY
asleep        a matching watch while a relay sleeps all the time: an event row, and a NOTIFY at every commit
notify        a matching watch with an unconditional NOTIFY, as usual in LISTEN/NOTIFY queues

With --against, only `bare`, `non-matching` and `awake` are compared, the last two with both files (`old ...` is the
given file). Each file has a database of its own on the same server.
"""

from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory, gettempdir

import click
import psycopg
from rich.table import Table

from benchmarks import figure, report
from benchmarks.pgbench import pgbench
from bridge.database import schema
from tools.servers import Postgres

ROWS = 100_000
SCRIPT = f"\\set id random(1, {ROWS})\nupdate item set touched = touched + 1 where id = :id;\n"
MODES = ("bare", "non-matching", "named-only", "awake", "asleep", "notify")
WHOLE = ("bare", "unchanged", "any-column", "awake")
OLD = "old "
COMPARED = ("bare", "non-matching", "old non-matching", "awake", "old awake")
SETTINGS = {"shared_buffers": "256MB", "max_connections": "120", "max_wal_size": "4GB", "synchronous_commit": "on"}


@report.command(__doc__)
@click.option("--clients", default="1,8,32,64", show_default=True, help="Numbers of writers.")
@click.option("--seconds", default=5, show_default=True, help="Length of each run.")
@click.option("--against", type=click.Path(path_type=Path, exists=True), help="Compare with this triggers.sql.")
@click.option("--whole-rows", is_flag=True, help="Only watches without columns: what it costs to compare whole rows.")
@click.option("--fsync", is_flag=True, help="Set fsync = on and keep the data on disk, as users do.")
def main(
    clients: str,
    seconds: int,
    against: Path | None,
    whole_rows: bool,
    fsync: bool,
    rounds: int,
    as_json: bool,
    plot: Path | None,
) -> None:
    """Runs the benchmark and prints it."""
    numbers = [int(number) for number in clients.split(",")]
    modes = COMPARED if against else WHOLE if whole_rows else MODES
    steps = [(number, mode) for _ in range(rounds) for number in numbers for mode in modes]
    results: dict[tuple[int, str], list[float]] = {step: [] for step in steps}
    settings = {**SETTINGS, "fsync": "on" if fsync else "off"}
    with (
        Postgres(settings=settings, base=Path(gettempdir()) if fsync else None) as server,
        TemporaryDirectory() as directory,
    ):
        script = Path(directory, "update.sql")
        script.write_text(SCRIPT)
        prepare(server, "postgres", schema.read())
        if against:
            with closing(psycopg.connect(server.dsn(), autocommit=True)) as conn:
                conn.execute("create database old")
            prepare(server, "old", against.read_text())
        for number, mode in report.steps(steps, "writers"):
            database = "old" if mode.startswith(OLD) else "postgres"
            with mode_on(server, database, mode.removeprefix(OLD)):
                results[number, mode].append(pgbench(server, script, number, seconds, database))
    medians = {step: median(values) for step, values in results.items()}
    if plot and modes is MODES:
        series = {mode: [(float(number), medians[number, mode]) for number in numbers] for mode in modes}
        figure.lines(plot, "writers", "What capture costs", ("writers", "transactions per second"), series, log=True)
    rows = [{"clients": number, **{mode: round(medians[number, mode]) for mode in modes}} for number in numbers]
    result = {"rounds": rounds, "seconds": seconds, "fsync": fsync, "tps": rows}
    report.publish("writers", result, [as_table(medians, numbers, modes)], as_json)


def prepare(server: Postgres, database: str, triggers_sql: str) -> None:
    """Makes the schema and a table of 100,000 rows."""
    with psycopg.connect(server.dsn(database), autocommit=True) as conn:
        conn.execute(triggers_sql.encode())
        conn.execute("create table item (id int primary key, touched int, other int) with (fillfactor = 70)")
        conn.execute("insert into item select n, 0, 0 from generate_series(1, %s) n", [ROWS])
        conn.execute("vacuum analyze item")


@contextmanager
def mode_on(server: Postgres, database: str, mode: str) -> Iterator[None]:
    """Makes the watch that a mode needs, and a session that sleeps or listens if it needs one."""
    with ExitStack() as stack:
        conn = stack.enter_context(closing(psycopg.connect(server.dsn(database), autocommit=True)))
        if mode != "bare":
            column = "other" if mode in ("non-matching", "named-only") else "touched"
            columns = None if mode in ("any-column", "unchanged") else [column]
            options = {"named-only": '{"named_only": true}', "unchanged": '{"unchanged": true}'}.get(mode, "{}")
            watch = "select bridge.watch('item', 'item', 't', '{update}', %s, options => %s)"
            conn.execute(watch, [columns, options])
        if mode in ("asleep", "notify"):
            conn.execute('listen "bridge:default"')
        if mode == "asleep":
            conn.execute("select pg_advisory_lock(sleep_key) from bridge.stream")
        if mode == "notify":
            notify_always(conn)
        yield
        conn.execute("select bridge.unwatch('item')")
        conn.execute("truncate bridge.event")
        conn.execute("vacuum item")
        conn.execute("checkpoint")


def notify_always(conn: psycopg.Connection) -> None:
    """Changes the capture function so that it notifies without asking whether a relay sleeps."""
    row = conn.execute("select pg_get_functiondef('bridge.capture_item'::regproc), sleep_key from bridge.stream")
    [(text, key)] = row.fetchall()
    changed = text.replace(f"if not pg_catalog.pg_try_advisory_xact_lock_shared({key}) then", "if true then")
    if changed == text:
        raise SystemExit("the capture function has changed: correct notify_always in benchmarks/writers.py")
    conn.execute(changed)


def as_table(medians: dict[tuple[int, str], float], numbers: list[int], modes: tuple[str, ...]) -> Table:
    """Returns a table with a row for each number of writers: tps and, in brackets, the share of the baseline."""
    ours = "any-column" if "any-column" in modes else "awake"
    other = next(mode for mode in ("old awake", "unchanged", "notify") if mode in modes)
    table = Table("writers", *modes, f"{ours} / {other}", title="tps (share of bare)")
    for number in numbers:
        bare = medians[number, "bare"]
        cells = [f"{medians[number, mode]:,.0f} ({medians[number, mode] / bare:.2f})" for mode in modes]
        table.add_row(str(number), *cells, f"{medians[number, ours] / medians[number, other]:.2f}")
    return table


if __name__ == "__main__":
    main()
