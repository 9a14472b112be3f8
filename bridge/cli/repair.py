"""The command `bridge repair`."""

import sys

import click

from bridge.cli.options import as_json, asynchronous, database_url, lock_timeout, print_json, required
from bridge.cli.report import print_repair
from bridge.database.connect import connect
from bridge.operations import installation, watches


@click.command()
@database_url
@lock_timeout
@as_json
@asynchronous
async def repair(database_url: str | None, lock_timeout: float, as_json: bool) -> None:
    """Install the watches that no longer fit their table again, as the database has them.

    Their triggers were dropped or disabled. A watch whose table was changed, renamed or dropped stays as it is, with
    exit code 1: declare it again.
    """
    async with connect(required(database_url), "catalog") as connection:
        await installation.require(connection)
        changes = await watches.repair(connection, lock_timeout)
    if as_json:
        print_json(changes)
    else:
        print_repair(changes)
    if any(change.action == "later" for change in changes):
        sys.exit(1)
