"""The command line of the demo, and its steps."""

import json
import signal
import sys
from functools import partial
from pathlib import Path
from typing import NoReturn

import click
from rich.console import Console
from rich.live import Live

from demo import screen
from demo.browser import Browser, PageError
from demo.edit import Edit, Way, judge
from demo.stack import Stack
from demo.trial import Trial, trials
from tools.servers import StartError

TASK_SECONDS = 15.0


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--edits", type=click.IntRange(min=1), default=30, show_default=True, help="Number of edits in each way.")
@click.option("--check", is_flag=True, help="Exit after the edits; status 1 unless only the old way read stale rows.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON as the last line of stdout, all else to stderr.")
@click.option("--svg", type=click.Path(dir_okay=False, path_type=Path), help="Save table and verdict as a picture.")
def main(edits: int, check: bool, as_json: bool, svg: Path | None) -> None:
    """Shows how a committed change in Django's admin starts a Celery task, with real servers.

    The demo starts a private PostgreSQL, a Valkey as the broker, a Celery worker, the bridge and the shop (no
    install, no Docker, nothing left behind). It logs in to the admin and edits products over HTTP, by turns of two
    kinds: LegacyProduct, whose save() dispatches the task, and Product, which the bridge watches. The table shows
    when each task started, before or after the commit, and which price the task saw. A task that started before
    the commit may have read the old price. Then four trials follow: a rollback, an UPDATE in SQL, a bridge that is
    killed between commit and publish, and a broker that is away.

    Then the demo keeps running: log in to the admin at the printed address, edit a product, and watch its task.
    Ctrl-C ends everything. Without a terminal nobody could press Ctrl-C, so the demo behaves as with --check.

    \b
    scripts/demo                          the demo, which keeps running
    scripts/demo --check --json           for a machine: exit status and one line of JSON
    scripts/demo --edits 8 --svg a.svg    a small picture
    """
    signal.signal(signal.SIGTERM, _leave)
    check = check or not _has_terminal()
    console = Console(stderr=as_json)
    if svg and not svg.parent.is_dir():
        raise click.BadParameter(f"directory {svg.parent} does not exist", param_hint="--svg")
    try:
        with Stack(edits, partial(_report, console)) as stack:
            with Browser(stack.address) as browser:
                browser.log_in(stack.user, stack.password)
                made = _edit_all(browser, stack, edits, console)
            tasks = stack.observer.count(Way.BRIDGE)
            console.print()  # without a terminal, Live does not end its last line
            tried = _try_all(stack, console)
            judged = judge(made, tasks, {trial.name: trial.kept for trial in tried})
            console.print(screen.verdict(judged))
            if svg:
                screen.save_picture(svg, screen.table(made, len(made)), screen.verdict(judged))
            if not check:
                _stay(stack, console)
    except (StartError, PageError) as error:
        raise click.ClickException(str(error)) from error
    if as_json:
        click.echo(json.dumps(judged.as_dict()))
    sys.exit(0 if judged.proven or not check else 1)


def _edit_all(browser: Browser, stack: Stack, edits: int, console: Console) -> list[Edit]:
    made: list[Edit] = []
    console.print(screen.INTRODUCTION)
    pairs = zip(stack.observer.products(Way.OLD), stack.observer.products(Way.BRIDGE), strict=True)
    with Live(screen.table(made, edits * 2), console=console, refresh_per_second=10) as live:
        for pair in pairs:
            for way, product_id in zip((Way.OLD, Way.BRIDGE), pair, strict=True):
                price = browser.edit(way, product_id)
                committed_at = stack.observer.committed_at(way, product_id)
                run = stack.observer.run_of(way, product_id, TASK_SECONDS)
                made.append(Edit(way, product_id, price, committed_at, run))
                live.update(screen.table(made, edits * 2))
    return made


def _try_all(stack: Stack, console: Console) -> list[Trial]:
    tried: list[Trial] = []
    with Live(screen.promises(tried), console=console, refresh_per_second=10) as live:
        for trial in trials(stack):
            tried.append(trial())
            live.update(screen.promises(tried))
    console.print()
    return tried


def _stay(stack: Stack, console: Console) -> None:
    console.print(f"The admin: [bold]{stack.address}/admin/[/] as [bold]{stack.user}[/], [bold]{stack.password}[/]")
    console.print("Edit a product or a legacy product there, and watch its task here. Ctrl-C ends everything.")
    try:
        for run in stack.observer.runs():
            console.print(f"  {run.started_at:%H:%M:%S} {run.task}({run.product_id}) saw {run.price_seen}")
    except KeyboardInterrupt:
        console.print("Bye.")


def _has_terminal() -> bool:
    """Whether a user is there. It looks at stdin, since stdout may go to a file or a pipe while a user is there."""
    return sys.stdin is not None and sys.stdin.isatty()


def _report(console: Console, step: str, seconds: float) -> None:
    console.print(f"  [green]ok[/] {step} [dim]{seconds:.1f} s[/]")


def _leave(number: int, frame: object) -> NoReturn:
    sys.exit(128 + number)
