"""The command `bridge doctor`."""

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


@click.command()
@database_url
@broker_url
@celery_app
@as_json
@click.pass_obj
@asynchronous
async def doctor(
    project: Project | None, database_url: str | None, broker_url: str | None, celery_app: str | None, as_json: bool
) -> None:
    """Find what is wrong, each with the command that mends it. Exit with 1 if there is a problem.

    It looks at the streams, the watches and the newest events. If the broker or the app is given, it also asks the
    running workers which tasks they know and which queues they read.
    """
    seen = await examine(required(database_url), broker_url, celery_app, project)
    if as_json:
        print_json(seen.problems)
    elif seen.problems:
        for problem in seen.problems:
            click.echo(f"! {problem}")
    else:
        workers = "not asked: give --app or --broker-url" if seen.workers is None else f"{seen.workers} answered"
        watches = sum(stream.watches for stream in seen.streams)
        click.echo(f"Nothing is wrong. {len(seen.streams)} streams, {watches} watches; workers: {workers}.")
    if seen.problems:
        sys.exit(1)
