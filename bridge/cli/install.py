"""The command `bridge install`."""

import click

from bridge.cli.options import asynchronous, database_url, required
from bridge.database.connect import connect
from bridge.operations import installation


@click.command()
@database_url
@asynchronous
async def install(database_url: str | None) -> None:
    """Install or upgrade the schema `bridge`. You can repeat it: waiting events stay."""
    async with connect(required(database_url), "catalog") as connection:
        before, after = await installation.install(connection)
    if before is None:
        click.echo(f"Installed {after}. Next: bridge apply bridge.toml, or select bridge.watch(...) in psql.")
    elif before == after:
        click.echo(f"{after} was already installed. It was applied again, and nothing was lost.")
    else:
        click.echo(f"Upgraded {before} to {after}.")
