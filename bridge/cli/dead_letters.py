"""The commands `bridge dead-letters ...`."""

from collections.abc import Callable
from datetime import datetime
from typing import Any, Literal

import click
from rich.console import Console
from rich.progress import Progress

from bridge.cli.options import as_json, asynchronous, database_url, print_json, required
from bridge.cli.report import print_dead_letters
from bridge.errors import ConfigError
from bridge.operations.dead_letter import Choice, DeadLetters

_SHOWN = 100
_ALL = 2**31


def _time(value: str) -> datetime:
    """Reads an ISO 8601 time. Without an offset it is a local time."""
    try:
        return datetime.fromisoformat(value).astimezone()
    except ValueError as error:
        raise click.BadParameter(f"{value!r} is not a time. Use 2026-11-24 or 2026-11-24T18:30") from error


def chosen(command: Callable[..., None]) -> Callable[..., None]:
    """Adds the options that choose dead letters."""
    for option in (
        click.option("--until", type=_time, metavar="TIME", help="Only those that failed before this time."),
        click.option("--since", type=_time, metavar="TIME", help="Only those that failed at this time or later."),
        click.option("--stream", help="Only those of this stream."),
        click.option("--watch", help="Only those of this watch."),
        click.option("--id", "ids", type=int, multiple=True, help="Only the one with this id; may be repeated."),
        database_url,
    ):
        command = option(command)
    return command


everything = click.option("--all", "all_", is_flag=True, help="All dead letters. Required if no other option chooses.")


@click.group("dead-letters")
def dead_letters() -> None:
    """Show, retry or discard events that could not be published as they were.

    Remove the cause before a retry: `list` shows the reason of each.
    """


@dead_letters.command("list")
@chosen
@as_json
@asynchronous
async def list_(database_url: str | None, as_json: bool, **conditions: Any) -> None:
    """Show the oldest 100 dead letters, one a line. With --json show all, with all details."""
    choice = _choice(**conditions)
    async with DeadLetters.open(required(database_url)) as letters:
        found, count = await letters.list(choice, _ALL if as_json else _SHOWN)
    if as_json:
        print_json(found)
    else:
        print_dead_letters(found, count)


@dead_letters.command()
@click.argument("id", type=int)
@database_url
@asynchronous
async def show(id: int, database_url: str | None) -> None:  # noqa: A002 - click names it after the argument
    """Show all details of one dead letter as JSON. If two events had the same id, show both."""
    async with DeadLetters.open(required(database_url)) as letters:
        found, _ = await letters.list(Choice(ids=[id]), _ALL)
    if not found:
        raise ConfigError(f"dead letter {id} does not exist; `bridge dead-letters list` shows the existing ones")
    for letter in found:
        print_json(letter)


@dead_letters.command()
@chosen
@everything
@asynchronous
async def retry(database_url: str | None, all_: bool, **conditions: Any) -> None:
    """Publish dead letters again, with the same task ids. If one fails again, it comes back with the new reason."""
    await _settle("retry", "put back into the log", database_url, all_, conditions)


@dead_letters.command()
@chosen
@everything
@click.option("--yes", is_flag=True, help="Don't ask.")
@asynchronous
async def discard(database_url: str | None, all_: bool, yes: bool, **conditions: Any) -> None:
    """Delete dead letters for good, after you confirm."""
    await _settle("discard", "deleted", database_url, all_, conditions, ask=not yes)


async def _settle(
    action: Literal["retry", "discard"],
    done: str,
    database_url: str | None,
    all_: bool,
    conditions: dict[str, Any],
    ask: bool = False,
) -> None:
    choice = _choice(**conditions)
    if choice == Choice() and not all_:
        raise ConfigError("choose dead letters with --id, --watch, --stream, --since, --until, or --all")
    async with DeadLetters.open(required(database_url)) as letters:
        _, count = await letters.list(choice, 1)
        if ask and count:
            click.confirm(f"Delete {count} dead letters for good?", abort=True)
        settled = 0
        with Progress(console=Console(stderr=True), transient=True) as progress:
            bar = progress.add_task(action, total=count)
            async for number in letters.settle(action, choice):
                settled += number
                progress.update(bar, advance=number)
    click.echo(f"{settled} {done}.")


def _choice(ids: tuple[int, ...], **conditions: Any) -> Choice:
    return Choice(ids=list(ids) or None, **conditions)
