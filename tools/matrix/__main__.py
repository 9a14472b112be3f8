"""Runs `scripts/matrix`."""

import os
import sys
from collections.abc import Sequence

import click
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from tools.matrix import python
from tools.matrix.check import CHECKS, Outcome
from tools.matrix.combination import CELERYS, DJANGOS, PYTHONS, Combination, combinations, newest
from tools.matrix.environment import SetUpError, make

_ABSENT = "no such Python on this machine"


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--python", "pythons", type=click.Choice(PYTHONS), multiple=True, help="May be repeated. Default: all.")
@click.option("--django", "djangos", type=click.Choice(DJANGOS), multiple=True, help="May be repeated. Default: all.")
@click.option("--celery", "celerys", type=click.Choice(CELERYS), multiple=True, help="May be repeated. Default: both.")
@click.option("--newest", "only_newest", is_flag=True, help="Only the newest version of each.")
@click.option(
    "--check", "checks", type=click.Choice(list(CHECKS)), multiple=True, help="May be repeated. Default: all."
)
@click.option("--list", "as_list", is_flag=True, help="Only list the combinations.")
def main(
    pythons: Sequence[str],
    djangos: Sequence[str],
    celerys: Sequence[str],
    only_newest: bool,
    checks: Sequence[str],
    as_list: bool,
) -> None:
    """Runs the demo and the tests on each combination of Python, Django and Celery that Commit Bridge supports.

    Each combination gets its own virtual environment in .matrix/, made with uv. Packages that the combination
    does not name have the versions of uv.lock. Later runs use the environment again. Python is looked for in
    BRIDGE_PYTHON, PATH and ~/.pyenv/versions. A version that this machine does not have is left out, or is a
    failure if BRIDGE_TEST_REQUIRE is "all". The servers are those of scripts/test.

    \b
    demo      scripts/demo --check: edits in the admin that start tasks through PostgreSQL, bridge, broker and worker
    django    the tests of the Django app and of the example project
    celery    the tests that compare what the publisher sends with what Celery itself sends

    \b
    scripts/matrix                                everything: about half an hour on 2 cores
    scripts/matrix --newest                       the newest versions: about two minutes
    scripts/matrix --python 3.13 --celery 5.5     some combinations
    scripts/matrix --django 6.1 --check demo      one check only
    scripts/matrix --list                         only lists the combinations

    The exit code is 1 if anything failed. The logs stay in .matrix/<combination>/.
    """
    if only_newest and (pythons or djangos or celerys):
        raise click.UsageError("--newest already names the combination: leave out --python, --django and --celery.")
    chosen = (
        [newest()] if only_newest else list(combinations(pythons or PYTHONS, djangos or DJANGOS, celerys or CELERYS))
    )
    if not chosen:
        raise click.UsageError("There is no such combination: Django 6.0 and 6.1 need Python 3.12 or newer.")
    if as_list:
        for combination in chosen:
            click.echo(combination.name)
        return
    table = Table("Python", "Django", "Celery", *(checks or CHECKS), box=SIMPLE_HEAD)
    passed = True
    for combination in chosen:
        outcomes = _run(combination, checks or list(CHECKS))
        passed = passed and all(outcome.passed for outcome in outcomes)
        cells = (f"{'ok' if each.passed else 'FAILED'}  {each.said}, {each.seconds:.0f} s" for each in outcomes)
        table.add_row(combination.python, combination.django, combination.celery, *cells)
    Console().print(table)
    sys.exit(0 if passed else 1)


def _run(combination: Combination, checks: Sequence[str]) -> list[Outcome]:
    found = python.find(combination.python)
    if found is None:
        click.echo(f"{combination.name}: {_ABSENT}", err=True)
        return [Outcome(os.environ.get("BRIDGE_TEST_REQUIRE") != "all", _ABSENT, 0, "")]
    try:
        environment = make(combination, found)
    except SetUpError as error:
        click.echo(f"{combination.name}: {error}", err=True)
        return [Outcome(False, "no environment", 0, "")]
    outcomes = []
    for name in checks:
        click.echo(f"{combination.name}: {name}", err=True)
        outcomes.append(CHECKS[name].run(environment))
        if outcomes[-1].tail:
            click.echo(outcomes[-1].tail, err=True)
    return outcomes


if __name__ == "__main__":
    main(prog_name="scripts/matrix")
