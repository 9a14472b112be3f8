"""The command `bridge status`."""

import sys

import click

from bridge.cli.options import as_json, asynchronous, database_url, print_json, required
from bridge.cli.report import print_status
from bridge.database.connect import connect
from bridge.operations import installation, streams, watches
from bridge.operations.doctor import problems


@click.command()
@database_url
@as_json
@asynchronous
async def status(database_url: str | None, as_json: bool) -> None:
    """Show each stream: what waits, for how long, what serves it. Exit with 1 if there is a problem."""
    async with connect(required(database_url), "catalog") as connection:
        await installation.require(connection)
        version = await installation.version(connection)
        found = await streams.status(connection)
        drift = await watches.drift(connection)
        disk_use = await streams.disk_use(connection)
    wrong = problems(found, drift)
    if as_json:
        print_json({"version": version, "streams": found, "drift": drift, "disk_use": disk_use, "problems": wrong})
    else:
        print_status(found, disk_use)
        for problem in wrong:
            click.echo(f"! {problem}")
    if wrong:
        sys.exit(1)
