"""The commands `bridge dead-letters ...`."""

from collections.abc import Callable
from datetime import datetime
from typing import Any, Literal

import click
from rich.console import Console
from rich.progress import Progress

from bridge.dead_letter import Choice, DeadLetters
from bridge.errors import ConfigError
from bridge.option import as_json, asynchronous, database_url, print_json, required
from bridge.report import print_dead_letters

_SHOWN = 100
_ALL = 2**31


def _time(value: str) -> datetime:
    """Without an offset it is meant as the clock on the wall."""
    try:
        return datetime.fromisoformat(value).astimezone()
    except ValueError as error:
        raise click.BadParameter(f"{value!r} is no time: write it as 2026-11-24 or 2026-11-24T18:30") from error


def chosen(command: Callable[..., None]) -> Callable[..., None]:
    """The options that say which dead letters."""
    for option in (
        click.option("--until", type=_time, metavar="TIME", help="Only those that failed before."),
        click.option("--since", type=_time, metavar="TIME", help="Only those that failed then or later."),
        click.option("--stream", help="Only those of this stream."),
        click.option("--watch", help="Only those of this watch."),
        click.option("--id", "ids", type=int, multiple=True, help="This one; may be repeated."),
        database_url,
    ):
        command = option(command)
    return command


everything = click.option("--all", "all_", is_flag=True, help="All of them; needed when nothing else says which.")


@click.group("dead-letters")
def dead_letters() -> None:
    """Events that could not be published as they were: look, try again, or drop them.

    Mend the cause first: `list` shows the reason of each.
    """


@dead_letters.command("list")
@chosen
@as_json
@asynchronous
async def list_(database_url: str | None, as_json: bool, **conditions: Any) -> None:
    """Show them, the oldest first: a line each, at most 100; with --json all of them with everything there is."""
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
    """Show everything about one, as JSON; two events may have had one id, and then about each."""
    async with DeadLetters.open(required(database_url)) as letters:
        found, _ = await letters.list(Choice(ids=[id]), _ALL)
    if not found:
        raise ConfigError(f"there is no dead letter {id}: `bridge dead-letters list` shows those there are")
    for letter in found:
        print_json(letter)


@dead_letters.command()
@chosen
@everything
@asynchronous
async def retry(database_url: str | None, all_: bool, **conditions: Any) -> None:
    """Publish them again, with the same task ids. One that fails again comes back, with the new reason."""
    await _settle("retry", "put back into the log", database_url, all_, conditions)


@dead_letters.command()
@chosen
@everything
@click.option("--yes", is_flag=True, help="Don't ask.")
@asynchronous
async def discard(database_url: str | None, all_: bool, yes: bool, **conditions: Any) -> None:
    """Delete them for good, after a question."""
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
        raise ConfigError("say which dead letters: --id, --watch, --stream, --since, --until, or --all")
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
