"""The command `bridge`. Its exit codes are in docs/reference/commands.md#exit-codes."""

import os
import sys
import threading
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Literal

import click
import msgspec

from bridge import logs
from bridge.call import as_argument
from bridge.catalog import Catalog, StreamStatus
from bridge.config import Settings
from bridge.dead_letter_cli import dead_letters
from bridge.duration import duration
from bridge.errors import ConfigError
from bridge.option import as_json, asynchronous, database_url, print_json, required, setting
from bridge.reason import shown
from bridge.report import print_plan, print_status
from bridge.service import Service
from bridge.tail import tail as follow
from bridge.watch import read_toml

_HELP = {"help_option_names": ["-h", "--help"], "max_content_width": 110}
# Exit code when a batch was given up at the end of --grace. A supervisor may treat it differently from 0.
GAVE_UP = 3


@click.group(context_settings=_HELP)
@click.version_option(package_name="commit-bridge")
def cli() -> None:
    """Committed PostgreSQL rows start Celery tasks.

    \b
    1. bridge install             create the schema `bridge` in your database (or: psql -f triggers.sql)
    2. bridge apply bridge.toml   declare which tables start which tasks (or: select bridge.watch(...))
    3. bridge run                 turn committed changes into tasks

    Every setting of `bridge run` has an environment variable: BRIDGE_DATABASE_URL, BRIDGE_BROKER_URL, ...

    \b
    Exit codes
    0  success; `bridge run`: stopped by a signal
    1  found a problem
    2  wrong use, or invalid configuration; retrying will not help
    3  `bridge run`: stopped, but gave up a batch; the next run publishes it again
    """


@cli.command()
@database_url
@asynchronous
async def install(database_url: str | None) -> None:
    """Install or upgrade the schema `bridge`. You can repeat it: waiting events stay."""
    async with Catalog.open(required(database_url)) as catalog:
        before, after = await catalog.install()
    if before is None:
        click.echo(f"Installed {after}. Next: bridge apply bridge.toml, or select bridge.watch(...) in psql.")
    elif before == after:
        click.echo(f"{after} was already installed. It was applied again, and nothing was lost.")
    else:
        click.echo(f"Upgraded {before} to {after}.")


@cli.command()
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
@database_url
@click.option("--dry-run", is_flag=True, help="Only show the plan. Exit with 1 if there is something to do.")
@click.option("--prune", is_flag=True, help="Remove watches that the file no longer names.")
@click.option(
    "--lock-timeout", type=click.FloatRange(min=0.001), default=3.0, show_default=True, metavar="SECONDS",
    help="Wait at most this long for a table's lock. Writers queue behind this wait.",
)  # fmt: skip
@as_json
@asynchronous
async def apply(
    file: Path, database_url: str | None, dry_run: bool, prune: bool, lock_timeout: float, as_json: bool
) -> None:
    """Make the watches match FILE. Show the plan as a diff, then do it in one transaction.

    \b
    [[watch]]
    name = "reprice"
    table = "shop.product"
    task = "shop.tasks.reprice"      # called as reprice(product_id), after the commit
    on = ["update"]                  # default: insert, update, delete
    columns = ["price"]              # only when one of these columns changed
    when = "new.price > 0"           # SQL expression over old and new
    queue = "updates"                # also: priority, countdown, expires, headers, key, data, stream, call
    """
    watches = read_toml(file)
    async with Catalog.open(required(database_url)) as catalog:
        await catalog.require()
        changes = await (catalog.plan(watches, prune) if dry_run else catalog.apply(watches, prune, lock_timeout))
    if as_json:
        print_json(changes)
    else:
        print_plan(changes, watches, dry_run)
    if dry_run and any(change.action != "keep" for change in changes):
        sys.exit(1)


@cli.command()
@database_url
@setting("--broker-url", metavar="URL", help="Celery's broker, such as amqp://user:password@host//.")
@setting(
    "--app",
    "celery_app",
    envvar="BRIDGE_CELERY_APP",
    metavar="MODULE:APP",
    help="Your Celery app, such as shop.celery:app. Its routes, queues, serializer and signals apply. Optional.",
)
@setting("--stream", "streams", multiple=True, help="Serve only this stream; may be repeated. Default: all streams.")
@setting("--http", metavar="HOST:PORT", help="Serve /healthz, /readyz and /metrics at this address.")
@setting(
    "--batch-size",
    type=click.IntRange(1, 10_000),
    default=5_000,
    help="Publish at most this many events at once; fewer while the broker needs over 0.1 s to confirm a batch.",
)
@setting(
    "--publishers",
    type=click.IntRange(1, 64),
    default=1,
    metavar="N",
    help="Processes that share each batch of a stream, split by key. Useful where publishing takes a whole core.",
)
@setting(
    "--catch-up-rate",
    type=click.FloatRange(min=0.1),
    metavar="N",
    help="Start at most N tasks per second while a backlog is delivered, to spare the workers. Default: no limit.",
)
@setting(
    "--publish-unflushed",
    is_flag=True,
    help="Don't wait for the disk: start tasks also for changes that a crash of the server could still undo.",
)
@setting(
    "--poll-floor",
    type=duration("100ms"),
    default="30s",
    metavar="DURATION",
    help="Look for events at least this often, even if no notification comes.",
)
@setting(
    "--grace",
    type=duration("100ms"),
    default="25s",
    metavar="DURATION",
    help="Time that a batch in flight has to finish after SIGTERM.",
)
@setting(
    "--takeover-after",
    type=duration("1s"),
    default="15s",
    metavar="DURATION",
    help="A standby takes over when the owner is frozen while events wait: after this time, or at most twice as long.",
)
@setting(
    "--retention",
    type=duration(most="24h"),
    default="24h",
    metavar="DURATION",
    help="How long delivered events stay in the log.",
)
@setting(
    "--inbox-retention",
    type=duration("1m"),
    default="7d",
    metavar="DURATION",
    help="How long bridge.inbox remembers finished tasks.",
)
@setting("--log-format", type=click.Choice(["console", "json"]), default="console")
@setting("--log-level", type=click.Choice(["debug", "info", "warning", "error"]), default="info")
def run(database_url: str | None, log_format: Literal["console", "json"], log_level: str, **options: Any) -> None:
    """Turn committed changes into Celery tasks until SIGTERM or Ctrl-C.

    Start it twice for high availability: one instance serves a stream, the others stand by and take over.
    """
    log = partial(logs.set_up, log_format, log_level)
    log()
    code = GAVE_UP if _serve(log, database_url, **options) else 0
    if any(thread is not threading.current_thread() and not thread.daemon for thread in threading.enumerate()):
        # A publish that was given up may still hang in its thread. It must not delay the exit.
        os._exit(code)
    sys.exit(code)


@asynchronous
async def _serve(log: Callable[[], None], database_url: str | None, **options: Any) -> bool:
    """Runs the service. Returns whether a batch was given up."""
    service = Service(Settings(database_url=required(database_url), **options))
    # Set up logging again, because the import of the user's app may have changed it.
    log()
    return await service.run()


@cli.command()
@database_url
@as_json
@asynchronous
async def status(database_url: str | None, as_json: bool) -> None:
    """Show each stream: what waits, for how long, what serves it. Exit with 1 if there is a problem."""
    async with Catalog.open(required(database_url)) as catalog:
        await catalog.require()
        version = await catalog.version()
        streams = await catalog.status()
        drift = await catalog.drift()
        disk_use = await catalog.disk_use()
    problems = list(_problems(streams, drift))
    if as_json:
        print_json({"version": version, "streams": streams, "drift": drift, "disk_use": disk_use, "problems": problems})
    else:
        print_status(streams, disk_use)
        for problem in problems:
            click.echo(f"! {problem}")
    if problems:
        sys.exit(1)


@cli.command()
@database_url
@click.option("--stream", default="default", show_default=True, help="Show the events of this stream.")
@as_json
@asynchronous
async def tail(database_url: str | None, stream: str, as_json: bool) -> None:
    """Show events as they are committed, until Ctrl-C. The relay still delivers them."""
    async with Catalog.open(required(database_url)) as catalog:
        await catalog.require()
        streams = await catalog.streams()
    if stream not in streams:
        raise ConfigError(f'stream "{stream}" does not exist; the streams are: {", ".join(streams)}')
    async for event in follow(required(database_url), stream):
        if as_json:
            click.echo(msgspec.json.encode(as_argument(event)))
        else:
            key = msgspec.json.encode(event.key).decode()
            data = event.flaw or ("" if event.data is None else msgspec.json.encode(event.data).decode())
            click.echo(shown(f"{event.at:%H:%M:%S.%f} #{event.id} {event.watch} {event.op} {key} {data}".rstrip()))


cli.add_command(dead_letters)


def main() -> None:
    """Runs the command. This is the entry point of the console script."""
    try:
        cli(standalone_mode=False)
    except click.exceptions.Abort:
        sys.exit(130)
    except click.exceptions.NoArgsIsHelpError as error:
        click.echo(error.format_message())
        sys.exit(2)
    except click.ClickException as error:
        error.show()
        sys.exit(2)
    except click.exceptions.Exit as error:
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        sys.exit(130)


def _problems(streams: Sequence[StreamStatus], drift: Sequence[str]) -> Sequence[str]:
    problems = [f'watch "{name}" does not fit its table any more; run `bridge apply`' for name in drift]
    for s in streams:
        if s.owner_pid is None and s.watches:
            problems.append(f'stream "{s.stream}": nobody serves it; start `bridge run`')
        if s.broker_away_since is not None:
            since = f"{s.broker_away_since:%Y-%m-%d %H:%M:%S}"
            problems.append(f'stream "{s.stream}": the broker has refused messages since {since}: {s.broker_error}')
        if s.dead_letters:
            problems.append(f'stream "{s.stream}": {s.dead_letters} dead letters; see `bridge dead-letters list`')
    return problems
