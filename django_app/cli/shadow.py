"""The command `manage.py bridge shadow`."""

import sys
from datetime import timedelta

import click
from django.db import DatabaseError

from bridge.cli.duration import duration
from django_app.database import alias, connect, has_schema, migrate_command, sentence
from django_app.shadow.rendering import as_json, as_lines
from django_app.shadow.report import report


@click.command()
@click.option(
    "--since", type=duration("1s", "24h"), default="24h", show_default=True, help="How far to look back, such as 30m."
)
@click.option("--database", default=None, help="An alias of DATABASES. Default: the setting BRIDGE_DATABASE.")
@click.option("--json", "in_json", is_flag=True, help="Print JSON.")
def shadow(since: float, database: str | None, in_json: bool) -> None:
    """Compare the events of shadow watches with what the project's own dispatch published.

    The exit code is 1 if they differ anywhere.
    """
    connection = connect(database or alias())
    try:
        if not has_schema(connection):
            raise click.ClickException(f"the database has no schema bridge; run `{migrate_command(connection.alias)}`")
        verdicts = report(connection, timedelta(seconds=since))
    except DatabaseError as error:
        raise click.ClickException(
            f"the report can't be read: {sentence(error)}. Run `{migrate_command(connection.alias)}`, and use the role "
            "that migrates"
        ) from error
    if in_json:
        click.echo(as_json(verdicts))
    elif not verdicts:
        click.echo("No watch has the option shadow. Declare one with shadow=True, then `manage.py migrate`.")
    else:
        click.echo("\n".join(as_lines(verdicts)))
    if not all(verdict.is_equal for verdict in verdicts):
        sys.exit(1)
