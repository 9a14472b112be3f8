"""The command `bridge`. Exit codes: docs/reference/commands.md#exit-codes."""

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
# A batch was given up at the end of --grace, which a supervisor may want to know.
GAVE_UP = 3


@click.group(context_settings=_HELP)
@click.version_option(package_name="commit-bridge")
def cli() -> None:
    """Committed PostgreSQL rows start Celery tasks.

    \b
    1. bridge install             put the schema `bridge` into your database (or: psql -f triggers.sql)
    2. bridge apply bridge.toml   say which tables start which tasks (or: select bridge.watch(...))
    3. bridge run                 turn committed changes into tasks

    Every setting of `bridge run` has an environment variable: BRIDGE_DATABASE_URL, BRIDGE_BROKER_URL, ...

    \b
    Exit codes
    0  fine; `bridge run`: stopped, as asked
    1  found a problem
    2  wrong use, or it can never work like this
    3  `bridge run`: stopped, but a batch was given up and will be repeated
    """


@cli.command()
@database_url
@asynchronous
async def install(database_url: str | None) -> None:
    """Install or upgrade the schema `bridge`. Safe to repeat; events that wait stay."""
    async with Catalog.open(required(database_url)) as catalog:
        before, after = await catalog.install()
    if before is None:
        click.echo(f"Installed {after}. Next: bridge apply bridge.toml, or select bridge.watch(...) in psql.")
    elif before == after:
        click.echo(f"{after} was installed already; applied again, nothing lost.")
    else:
        click.echo(f"Upgraded {before} to {after}.")


@cli.command()
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
@database_url
@click.option("--dry-run", is_flag=True, help="Only show the plan; exit 1 when there is something to do.")
@click.option("--prune", is_flag=True, help="Remove watches that the file no longer names.")
@click.option(
    "--lock-timeout", type=click.FloatRange(min=0.001), default=3.0, show_default=True, metavar="SECONDS",
    help="Longest wait for a table's lock; writers queue behind it.",
)  # fmt: skip
@as_json
@asynchronous
async def apply(
    file: Path, database_url: str | None, dry_run: bool, prune: bool, lock_timeout: float, as_json: bool
) -> None:
    """Bring the watches in line with FILE: shows the plan as a diff, then does it in one transaction.

    \b
    [[watch]]
    name = "reprice"
    table = "shop.product"
    task = "shop.tasks.reprice"      # called as reprice(product_id), after the commit
    on = ["update"]                  # default: insert, update, delete
    columns = ["price"]              # only when one of these changed
    when = "new.price > 0"           # SQL over old and new
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
    help="Your Celery app, such as shop.celery:app: its routes, queues, serializer and signals apply. Optional.",
)
@setting("--stream", "streams", multiple=True, help="Serve only this stream; may be repeated. Default: all.")
@setting("--http", metavar="HOST:PORT", help="Serve /healthz, /readyz and /metrics there.")
@setting(
    "--batch-size",
    type=click.IntRange(1, 10_000),
    default=5_000,
    help="Most events published and confirmed at once; fewer while the broker takes more than a tenth of a second.",
)
@setting(
    "--publishers",
    type=click.IntRange(1, 64),
    default=1,
    metavar="N",
    help="Processes that share each batch of a stream, split by key; worth it where publishing takes a whole core.",
)
@setting(
    "--catch-up-rate",
    type=click.FloatRange(min=0.1),
    metavar="N",
    help="Most tasks per second while a backlog is delivered, to spare the workers. Default: as fast as it goes.",
)
@setting(
    "--publish-unflushed",
    is_flag=True,
    help="Don't wait for the disk: start tasks also for changes that a crash of the server could still take away.",
)
@setting(
    "--poll-floor", type=duration("100ms"), default="30s", metavar="DURATION", help="Longest sleep without a look."
)
@setting(
    "--grace",
    type=duration("100ms"),
    default="25s",
    metavar="DURATION",
    help="Time for a batch in flight after SIGTERM.",
)
@setting(
    "--takeover-after",
    type=duration("1s"),
    default="15s",
    metavar="DURATION",
    help="A standby takes over from an owner that is frozen for so long while events wait, twice that at most.",
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
    help="How long bridge.inbox remembers what tasks have done.",
)
@setting("--log-format", type=click.Choice(["console", "json"]), default="console")
@setting("--log-level", type=click.Choice(["debug", "info", "warning", "error"]), default="info")
def run(database_url: str | None, log_format: Literal["console", "json"], log_level: str, **options: Any) -> None:
    """Listen, and turn committed changes into Celery tasks until SIGTERM or Ctrl-C.

    Start it twice for high availability: one serves a stream, the others stand by and take over.
    """
    log = partial(logs.set_up, log_format, log_level)
    log()
    code = GAVE_UP if _serve(log, database_url, **options) else 0
    if any(thread is not threading.current_thread() and not thread.daemon for thread in threading.enumerate()):
        # A publish that was given up still hangs in its thread; it must not hold the exit.
        os._exit(code)
    sys.exit(code)


@asynchronous
async def _serve(log: Callable[[], None], database_url: str | None, **options: Any) -> bool:
    """Whether a batch was given up."""
    service = Service(Settings(database_url=required(database_url), **options))
    # Again, since the user's app may have set up logging of its own.
    log()
    return await service.run()


@cli.command()
@database_url
@as_json
@asynchronous
async def status(database_url: str | None, as_json: bool) -> None:
    """Show the streams: what waits, for how long, who serves them. Exit 1 when something needs a person."""
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
@click.option("--stream", default="default", show_default=True, help="The stream to look at.")
@as_json
@asynchronous
async def tail(database_url: str | None, stream: str, as_json: bool) -> None:
    """Show events as they are committed, until Ctrl-C. Takes nothing away from the relay."""
    async with Catalog.open(required(database_url)) as catalog:
        await catalog.require()
        streams = await catalog.streams()
    if stream not in streams:
        raise ConfigError(f'there is no stream "{stream}"; there are: {", ".join(streams)}')
    async for event in follow(required(database_url), stream):
        if as_json:
            click.echo(msgspec.json.encode(as_argument(event)))
        else:
            key = msgspec.json.encode(event.key).decode()
            data = event.flaw or ("" if event.data is None else msgspec.json.encode(event.data).decode())
            click.echo(shown(f"{event.at:%H:%M:%S.%f} #{event.id} {event.watch} {event.op} {key} {data}".rstrip()))


cli.add_command(dead_letters)


def main() -> None:
    """The console script."""
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
    problems = [f'watch "{name}" does not fit its table any more: run `bridge apply`' for name in drift]
    for s in streams:
        if s.owner_pid is None and s.watches:
            problems.append(f'nobody serves stream "{s.stream}": start `bridge run`')
        if s.broker_away_since is not None:
            since = f"{s.broker_away_since:%Y-%m-%d %H:%M:%S}"
            problems.append(f'the broker takes nothing of stream "{s.stream}" since {since}: {s.broker_error}')
        if s.dead_letters:
            problems.append(f'stream "{s.stream}" has {s.dead_letters} dead letters, see `bridge dead-letters list`')
    return problems
