"""The output of the demo: the table of edits, the verdict, and both as a picture."""

import io
from collections.abc import Sequence
from pathlib import Path

from rich.box import SIMPLE_HEAD
from rich.console import Console, Group, RenderableType
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from demo.edit import Edit, Verdict
from demo.trial import Trial

ROWS = 16  # of the live table, which must fit into a small terminal
PICTURE_WIDTH = 80
OUTCOMES = {
    "right": Text("right", style="green"),
    "lucky": Text("lucky", style="yellow"),
    "stale": Text("STALE", style="bold red"),
    "lost": Text("NO TASK", style="bold red"),
}
INTRODUCTION = (
    'Each edit below is one click on "Save" in Django\'s admin: a LegacyProduct dispatches its task in save(), a '
    "Product leaves that to the bridge. A task is right if it saw the price that the edit wrote, and lucky if it did "
    "so although it started before the commit."
)


def table(edits: Sequence[Edit], total: int) -> Table:
    """Returns a table of the latest edits."""
    made = Table(
        box=SIMPLE_HEAD,
        padding=(0, 1, 0, 0),
        title=f"{len(edits)} of {total} edits in Django's admin",
        title_justify="left",
        expand=False,
    )
    made.add_column("edit", no_wrap=True)
    made.add_column("task started", justify="right", no_wrap=True)
    made.add_column("price after\nthe edit", justify="right")
    made.add_column("price the\ntask saw", justify="right", no_wrap=True)
    made.add_column("", no_wrap=True)
    for edit in edits[-ROWS:]:
        latency = edit.latency_ms
        made.add_row(
            f"{edit.way.model} {edit.product_id}",
            "" if latency is None else _moment(latency),
            str(edit.price),
            str(edit.run.price_seen) if edit.run else "-",
            OUTCOMES[edit.outcome],
        )
    return made


def verdict(judged: Verdict) -> Panel:
    edits = judged.edits
    old = Text("dispatch in save()   ").append(
        f"{judged.old_way_stale} of {edits} tasks read the old row",
        "bold red" if judged.old_way_stale else "green",
    )
    new = Text("with the bridge      ").append(
        f"{judged.bridge_stale} of {edits} tasks read the old row",
        "bold red" if judged.bridge_stale else "bold green",
    )
    tasks = Text(f"                     {judged.bridge_tasks} tasks for {edits} edits, started after the commit:")
    latency = Text(f"                     p50 {judged.p50:.1f} ms, p99 {judged.p99:.1f} ms")
    return Panel(Group(old, new, tasks, latency), title="verdict", title_align="left", expand=False)


def promises(tried: Sequence[Trial]) -> Table:
    """Returns a table of the trials."""
    made = Table(box=SIMPLE_HEAD, title="The bridge's other promises", title_justify="left", expand=False)
    made.add_column("what was done")
    made.add_column("what happened", no_wrap=True)
    made.add_column("", no_wrap=True)
    for trial in tried:
        made.add_row(trial.done, trial.found, Text("kept", "green") if trial.kept else Text("BROKEN", "bold red"))
    return made


def _moment(latency: float) -> Text:
    side = Text("before", "red") if latency < 0 else Text("after")
    return Text(f"{abs(latency):.1f} ms ").append(side).append(" the commit")


def save_picture(path: Path, *parts: RenderableType) -> None:
    console = Console(record=True, width=PICTURE_WIDTH, file=io.StringIO(), force_terminal=True)
    console.print(*parts, sep="\n")
    path.write_text(console.export_svg(title="scripts/demo"), encoding="utf-8")
