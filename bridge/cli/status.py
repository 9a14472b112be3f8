"""The command `bridge status`."""

import sys

import click

from bridge.cli.examination import examine
from bridge.cli.options import (
    Project,
    as_json,
    asynchronous,
    broker_url,
    celery_app,
    database_url,
    print_json,
    required,
)
from bridge.cli.report import print_status


@click.command()
@database_url
@broker_url
@celery_app
@as_json
@click.pass_obj
@asynchronous
async def status(
    project: Project | None, database_url: str | None, broker_url: str | None, celery_app: str | None, as_json: bool
) -> None:
    """Show each stream: what waits, for how long, what serves it. Exit with 1 if there is a problem.

    If the broker or the app is given, it also asks the running workers, for a second.
    """
    seen = await examine(required(database_url), broker_url, celery_app, project)
    if as_json:
        print_json(seen)
    else:
        print_status(seen.streams, seen.disk_use)
        for problem in seen.problems:
            click.echo(f"! {problem}")
    if seen.problems:
        sys.exit(1)
