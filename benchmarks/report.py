"""Report: the options that every benchmark has, its progress, and the output of its result."""

import os
import platform
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from statistics import median, quantiles
from typing import Any, TypeVar

import click
import msgspec
from rich.console import Console
from rich.progress import Progress, track
from rich.table import Table

F = TypeVar("F", bound=Callable[..., Any])
T = TypeVar("T")


def command(doc: str | None, rounds: int = 5) -> Callable[[Callable[..., None]], click.Command]:
    """Makes a click command with --rounds, --json and --plot. `doc` is the module's docstring."""

    def decorate(function: Callable[..., None]) -> click.Command:
        function = click.option("--plot", type=click.Path(path_type=Path), help="Folder for the picture.")(function)
        function = click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")(function)
        function = click.option("--rounds", default=rounds, show_default=True, help="The median is reported.")(function)
        # Click keeps the lines of a paragraph only if the paragraph begins with \b.
        kept = "\b\n" + (doc or "").replace("\n\n", "\n\n\b\n")
        return click.command(help=kept, context_settings={"max_content_width": 120})(function)

    return decorate


def steps(sequence: Sequence[T], title: str) -> Iterable[T]:
    """Returns the sequence, with a progress bar on standard error."""
    return track(sequence, title, console=Console(stderr=True))


def progress() -> Progress:
    """Returns a progress bar on standard error, for work that is not a sequence."""
    return Progress(console=Console(stderr=True))


def percentiles(milliseconds: Iterable[float]) -> dict[str, float]:
    """Returns p50, p99 and the largest."""
    values = sorted(milliseconds)
    if len(values) < 2:
        raise SystemExit("fewer than two measurements: increase --seconds or --rounds")
    return {"p50": median(values), "p99": quantiles(values, n=100, method="inclusive")[98], "max": values[-1]}


def interleaved(rounds: int, modes: Iterable[T]) -> list[T]:
    """Returns all modes one after the other, in every round, so that a noisy machine affects all of them."""
    every = list(modes)
    return [mode for _ in range(rounds) for mode in every]


def publish(name: str, result: dict[str, Any], tables: Iterable[Table], as_json: bool) -> None:
    """Prints the result. The JSON also has the date, the machine and its load."""
    if as_json:
        click.echo(msgspec.json.format(msgspec.json.encode({"benchmark": name, **_circumstances(), **result})))
        return
    console = Console(width=None if os.isatty(1) else 120)
    for table in tables:
        console.print(table)


def _circumstances() -> dict[str, object]:
    return {
        "date": datetime.now(UTC).isoformat(timespec="minutes"),
        "machine": f"{_processor()}, {os.cpu_count()} cores, Python {platform.python_version()}",
        "load": round(os.getloadavg()[0], 1),
    }


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    lines: Iterator[str] = iter(info.read_text().splitlines() if info.exists() else ())
    return next((line.partition(": ")[2] for line in lines if line.startswith("model name")), platform.machine())
