"""Runs `scripts/projects`."""

import json
import statistics
import sys
from functools import partial
from pathlib import Path

import click
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from tools.projects.lane import Lane, processors
from tools.projects.project import PROJECTS, Project
from tools.projects.run import Result, run
from tools.projects.source import environment, unpacked

_ROOT = Path(__file__).parents[2]


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--rounds", type=click.IntRange(1), default=5, show_default=True, help="Runs of each kind.")
@click.option("--project", "names", type=click.Choice([p.name for p in PROJECTS]), multiple=True)
@click.option("--json", "as_json", is_flag=True, help="Print JSON, for programs.")
def main(rounds: int, names: tuple[str, ...], as_json: bool) -> None:
    """Runs the own tests of real Django projects on PostgreSQL, with the bridge's app and five watches, and without.

    The two kinds run at the same time, each on a processor and a server of its own, which they exchange from round to
    round. The exit code is 1 if a run with the app has other results than one without.
    """
    folder = _ROOT / ".projects"
    folder.mkdir(exist_ok=True)
    chosen = [project for project in PROJECTS if not names or project.name in names]
    found: dict[Project, list[tuple[Result, Result]]] = {}
    left, right = map(Lane, processors())
    with left, right, Progress(console=Console(stderr=True)) as progress:
        step = progress.add_task("projects", total=len(chosen) * (rounds + 1))
        for project in chosen:
            source = unpacked(project, folder)
            python = environment(project, source, folder, _ROOT)
            progress.advance(step)
            for number in range(rounds):
                lanes = (left, right) if number % 2 == 0 else (right, left)
                running = [
                    lane.start(partial(run, project, python, source, bridged=bridged, folder=folder))
                    for lane, bridged in zip(lanes, (False, True), strict=True)
                ]
                plain, bridged = (each.result() for each in running)
                found.setdefault(project, []).append((plain, bridged))
                progress.advance(step)
    lines = [_line(project, pairs) for project, pairs in found.items()]
    if as_json:
        click.echo(json.dumps(lines))
    else:
        _print(lines)
    sys.exit(0 if all(line["same"] for line in lines) else 1)


def _line(project: Project, pairs: list[tuple[Result, Result]]) -> dict[str, object]:
    """Returns the comparison of one project. Times are medians in seconds."""
    plain, bridged = ([pair[kind] for pair in pairs] for kind in (0, 1))
    return {
        "project": f"{project.name} {project.version}",
        "tests": plain[0].tests,
        "failed_without": len(plain[0].failed),
        "failed_with": len(bridged[0].failed),
        "same": len({(result.tests, result.failed) for result in plain + bridged}) == 1,
        "seconds_without": round(statistics.median(result.seconds for result in plain), 2),
        "seconds_with": round(statistics.median(result.seconds for result in bridged), 2),
        "ratio": round(statistics.median(b.seconds / a.seconds for a, b in pairs), 3),
    }


def _print(lines: list[dict[str, object]]) -> None:
    table = Table("project", "tests", "failed without / with", "same results", "seconds without", "with", "ratio")
    for line in lines:
        failed = f"{line['failed_without']} / {line['failed_with']}"
        same = "yes" if line["same"] else "NO"
        times = (str(line["seconds_without"]), str(line["seconds_with"]), str(line["ratio"]))
        table.add_row(str(line["project"]), str(line["tests"]), failed, same, *times)
    Console().print(table)


if __name__ == "__main__":
    main()
