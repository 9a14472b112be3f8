"""The command `manage.py bridge apply`."""

import sys
from collections.abc import Callable

import click

from django_app.database import aliases, connect
from django_app.declarations import sync


@click.command()
@click.option("--dry-run", "--check", is_flag=True, help="Only show the plan. Exit with 1 if there is something to do.")
@click.option("--database", default=None, help="An alias. Default: all that BRIDGE_DATABASE names.")
def apply(dry_run: bool, database: str | None) -> None:
    """Make the watches match their declarations in the project's code. `manage.py migrate` does it too.

    A watch that can't be installed yet, because its table or column does not exist, makes the exit code 1.
    """
    make_them_match(dry_run, database, click.echo)


def make_them_match(dry_run: bool, database: str | None, write: Callable[[str], object]) -> None:
    """Does what the command does. `manage.py bridge_sync` calls it too."""
    plans = [
        sync.look(connect(using)) if dry_run else sync.bring_in_line(connect(using))
        for using in ([database] if database else aliases())
    ]
    for line in (line for plan in plans for line in plan.lines()):
        write(line)
    if not any(plans):
        write("All watches match their declarations.")
    if any(plan if dry_run else plan.later for plan in plans):
        sys.exit(1)
