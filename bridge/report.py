"""Report: plans and states as people read them in a terminal."""

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any

import msgspec
from rich.console import Console
from rich.filesize import decimal
from rich.table import Table
from rich.text import Text

from bridge.catalog import Change, StreamStatus
from bridge.dead_letter import DeadLetter
from bridge.reason import shown
from bridge.watch import Watch

# Of a value in a table; `bridge dead-letters show` has it whole.
_LONGEST = 60


def print_plan(changes: Sequence[Change], watches: Sequence[Watch], dry_run: bool) -> None:
    """The plan as a diff: what goes in red, what comes in green."""
    console = _console()
    for change in changes:
        if change.action == "keep":
            continue
        console.print(Text(f"{change.action} {change.name}", style="bold"))
        before, after = _flat(change.before), _flat(change.after)
        for name in sorted(before.keys() | after.keys()):
            if before.get(name) != after.get(name):
                for sign, values, style in (("-", before, "red"), ("+", after, "green")):
                    if name in values:
                        console.print(Text(f"  {sign} {name} = {values[name]}", style=style))
    count = sum(change.action != "keep" for change in changes)
    todo = "to do" if dry_run else "done"
    console.print(f"{count} {todo}, {len(watches)} declared." if count else "Nothing to do: all as declared.")


def _console() -> Console:
    """As wide as the terminal; in a pipe wide enough that no line is broken."""
    console = Console(highlight=False)
    return console if console.is_terminal else Console(highlight=False, width=200)


def _flat(definition: dict[str, Any] | None) -> dict[str, str]:
    values = dict(definition or {})
    values.pop("name", None)
    values |= {f"options.{name}": value for name, value in values.pop("options", {}).items()}
    return {name: msgspec.json.encode(value).decode() for name, value in values.items()}


def print_dead_letters(letters: Sequence[DeadLetter], count: int) -> None:
    """A row each; `count` is how many there are in all."""
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
    more = f", the first {len(letters)} shown: narrow it down, or --json" if count > len(letters) else ""
    console.print(f"{count:,} dead letters{more}.")


def _cell(text: str) -> Text:
    """What others have written, as it is: "[/b]" in it is no markup."""
    return Text(shown(text))


def _short(text: str) -> str:
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}..."


def print_status(streams: Sequence[StreamStatus], disk_use: Mapping[str, int]) -> None:
    """A row per stream, and what the parts take on disk, in bytes."""
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
