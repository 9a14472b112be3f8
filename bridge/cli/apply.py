"""The command `bridge apply`."""

import sys
from pathlib import Path

import click

from bridge.cli.options import as_json, asynchronous, database_url, lock_timeout, print_json, required
from bridge.cli.report import print_plan
from bridge.database.connect import connect
from bridge.operations import installation, watches
from bridge.watch import read_toml


@click.command()
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
@database_url
@click.option("--dry-run", is_flag=True, help="Only show the plan. Exit with 1 if there is something to do.")
@click.option("--prune", is_flag=True, help="Remove watches that the file no longer names.")
@lock_timeout
@as_json
@asynchronous
async def apply(
    file: Path, database_url: str | None, dry_run: bool, prune: bool, lock_timeout: float, as_json: bool
) -> None:
    """Make the watches match FILE. Show the plan as a diff, then do it in one transaction.

    A watch whose table or column does not exist yet is left for later, with exit code 1.

    \b
    [[watch]]
    name = "reprice"
    table = "shop.product"
    task = "shop.tasks.reprice"      # called as reprice(product_id), after the commit
    on = ["update"]                  # default: insert, update, delete
    columns = ["price"]              # only when one of these columns changed
    when = "new.price > 0"           # SQL expression over old and new
    queue = "updates"                # also: priority, countdown, expires, headers, key, data, stream, call
    """
    declared = read_toml(file)
    async with connect(required(database_url), "catalog") as connection:
        await installation.require(connection)
        if dry_run:
            changes = await watches.plan(connection, declared, prune)
        else:
            changes = await watches.apply(connection, declared, prune, lock_timeout)
    if as_json:
        print_json(changes)
    else:
        print_plan(changes, declared, dry_run)
    if any(change.action == "later" or (dry_run and change.action != "keep") for change in changes):
        sys.exit(1)
