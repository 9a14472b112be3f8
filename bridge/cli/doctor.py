"""The command `bridge doctor`."""

import click

from bridge.cli.examination import Examination, echo_problems, examination
from bridge.cli.options import print_json


@examination
def doctor(seen: Examination, as_json: bool) -> None:
    """Find what is wrong, each with the command that mends it. Exit with 1 if there is a problem.

    It looks at the streams, the watches and the newest events. If the broker or the app is given, it also asks the
    running workers which tasks they know and which queues they read.
    """
    if as_json:
        print_json(seen.problems)
    elif seen.problems:
        echo_problems(seen.problems)
    else:
        workers = "not asked: give --app or --broker-url" if seen.workers is None else f"{seen.workers} answered"
        watches = sum(stream.watches for stream in seen.streams)
        click.echo(f"Nothing is wrong. {len(seen.streams)} streams, {watches} watches; workers: {workers}.")
