"""The command `manage.py bridge apply`."""

import sys

import click

from django_app.database import alias, connect
from django_app.declarations import sync


@click.command()
@click.option("--dry-run", "--check", is_flag=True, help="Only show the plan. Exit with 1 if there is something to do.")
@click.option("--database", default=None, help="An alias of DATABASES. Default: the setting BRIDGE_DATABASE.")
def apply(dry_run: bool, database: str | None) -> None:
    """Make the watches match their declarations in the project's code. `manage.py migrate` does it too.

    A watch that can't be installed yet, because its table or column does not exist, makes the exit code 1.
    """
    connection = connect(database or alias())
    plan = sync.look(connection) if dry_run else sync.bring_in_line(connection)
    for line in plan.lines():
        click.echo(line)
    if not plan:
        click.echo("All watches match their declarations.")
    if plan if dry_run else plan.later:
        sys.exit(1)
