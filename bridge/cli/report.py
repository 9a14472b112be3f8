"""Report: prints plans, dead letters and status for people at a terminal."""

from collections.abc import Mapping, Sequence
from datetime import timedelta

import click
from rich.console import Console
from rich.filesize import decimal
from rich.table import Table
from rich.text import Text

from bridge.change import Change
from bridge.operations.dead_letter import DeadLetter
from bridge.operations.streams import StreamStatus
from bridge.reason import shown
from bridge.watch import Watch

# Characters of a value in a table. `bridge dead-letters show` prints all of it.
_LONGEST = 60


def print_plan(changes: Sequence[Change], watches: Sequence[Watch], dry_run: bool) -> None:
    """Prints the plan as a diff: removed lines in red, added lines in green."""
    console = _console()
    for change in changes:
        if change.action == "keep":
            continue
        heading, *lines = change.lines()
        console.print(Text(heading, style="bold"))
        for line in lines:
            console.print(Text(line, style="red" if line.startswith("  -") else "green"))
    count = sum(change.action not in ("keep", "later") for change in changes)
    later = sum(change.action == "later" for change in changes)
    todo = "to do" if dry_run else "done"
    not_installed = f", {later} not installed" if later else ""
    all_are = "Nothing to do: all are as declared."
    console.print(f"{count} {todo}{not_installed}, {len(watches)} declared." if count or later else all_are)


def print_repair(changes: Sequence[Change]) -> None:
    """Prints what was repaired, a line each."""
    for change in changes:
        if change.action == "later":
            click.echo(
                f"NOT REPAIRED {change.name}: {(change.after or {}).get('reason')}; declare it again, or remove it"
            )
        else:
            click.echo(f"repaired {change.name}")
    if not changes:
        click.echo("Nothing to do: all watches fit their tables.")


def _console() -> Console:
    """Returns a console as wide as the terminal. In a pipe it is wide enough that lines are not broken."""
    console = Console(highlight=False)
    return console if console.is_terminal else Console(highlight=False, width=200)


def print_dead_letters(letters: Sequence[DeadLetter], count: int) -> None:
    """Prints one row per dead letter. `count` is the number of all dead letters."""
    table = Table("id", "watch", "operation", "key", "failed", "reason")
    for letter in letters:
        key = "null" if letter.key is None else bytes(letter.key).decode()
        table.add_row(
            str(letter.id),
            _cell(_short(letter.watch)),
            _cell(letter.op),
            _cell(_short(key)),
            f"{letter.failed_at:%Y-%m-%d %H:%M:%S}",
            _cell(letter.reason),
        )
    console = _console()
    if letters:
        console.print(table)
    more = f"; the oldest {len(letters)} are shown. Use --json, or choose fewer" if count > len(letters) else ""
    console.print(f"{count:,} dead letters{more}.")


def _cell(text: str) -> Text:
    """Returns a text of unknown origin as a cell, so that rich does not read "[/b]" in it as markup."""
    return Text(shown(text))


def _short(text: str) -> str:
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}..."


def print_status(streams: Sequence[StreamStatus], disk_use: Mapping[str, int]) -> None:
    """Prints one row per stream, and how much space each part uses on disk. `disk_use` is in bytes."""
    table = Table("stream", "watches", "waiting", "lag", "dead letters", "served by", "moved")
    for s in streams:
        served = "nobody" if s.owner_pid is None else f"backend {s.owner_pid}{', asleep' if s.asleep else ''}"
        moved = f"{s.moved_at:%Y-%m-%d %H:%M:%S}"
        waiting = f"{s.waiting:,}" + (f" ({s.of_removed:,} of removed watches)" if s.of_removed else "")
        table.add_row(_cell(s.stream), str(s.watches), waiting, _duration(s.lag), str(s.dead_letters), served, moved)
    console = _console()
    console.print(table)
    console.print("On disk: " + ", ".join(f"{part} {decimal(size)}" for part, size in disk_use.items()) + ".")


def _duration(value: timedelta) -> str:
    return f"{value.total_seconds():.1f} s" if value < timedelta(minutes=2) else str(value).split(".", maxsplit=1)[0]
