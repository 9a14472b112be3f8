"""Examination: gathers what `bridge status` and `bridge doctor` show."""

import sys
from collections.abc import Callable, Mapping, Sequence
from functools import partial

import click
import msgspec

from bridge.call import Target
from bridge.cli.options import Project, as_json, asynchronous, broker_url, celery_app, database_url, required
from bridge.concurrency import in_thread
from bridge.database.connect import connect
from bridge.errors import BrokerError
from bridge.operations import doctor, installation, streams, watches
from bridge.operations.streams import StreamStatus
from bridge.publisher.workers import Workers, ask


class Examination(msgspec.Struct, frozen=True):
    """The state of an installation, and what is wrong with it."""

    version: str | None
    streams: list[StreamStatus]
    drift: list[str]
    disk_use: dict[str, int]
    """Bytes on disk by part."""
    workers: int | None
    """Number of workers that answered. None: they were not asked."""
    problems: list[str]
    """One sentence for each problem, with the command that mends it."""


def examination(show: Callable[[Examination, bool], None]) -> click.Command:
    """Makes a command that shows an examination, as JSON if the flag is set, and exits with 1 if there is a problem."""

    @asynchronous
    async def run(
        project: Project | None, database_url: str | None, broker_url: str | None, celery_app: str | None, as_json: bool
    ) -> None:
        seen = await examine(required(database_url), broker_url, celery_app, project)
        show(seen, as_json)
        if seen.problems:
            sys.exit(1)

    run.__doc__ = show.__doc__
    for option in (as_json, celery_app, broker_url, database_url):
        option(run)
    return click.command(show.__name__)(click.pass_obj(run))


def echo_problems(problems: Sequence[str]) -> None:
    """Prints the problems for people, a line each."""
    for problem in problems:
        click.echo(f"! {problem}")


async def examine(
    database_url: str, broker_url: str | None, celery_app: str | None, project: Project | None
) -> Examination:
    """Looks at the database and, if the broker or the app is given, at the running workers."""
    command = doctor.command if project is None else project.command
    async with connect(database_url, "catalog") as connection:
        if project is None:
            await installation.require(connection)
        else:
            await installation.require(connection, f"`{command('install')}`")
        version = await installation.version(connection)
        found = await streams.status(connection)
        drift = await watches.drift(connection)
        disk_use = await streams.disk_use(connection)
        targets = await watches.targets(connection)
        restless = await doctor.of_keys(connection)
    declared = [] if project is None else await in_thread(project.findings)
    # What the project says about its watch is more exact, and names the command that also mends the declaration.
    other = [each for each in drift if not any(line.startswith(f'watch "{each.name}" ') for line in declared)]
    problems = doctor.of_streams(found, other, command) + restless + declared
    workers, wrong = await in_thread(partial(_ask, targets, broker_url, celery_app))
    number = None if workers is None else len(workers.tasks)
    return Examination(version, found, [each.name for each in drift], disk_use, number, problems + wrong)


def _ask(
    targets: Mapping[str, Target], broker_url: str | None, celery_app: str | None
) -> tuple[Workers | None, list[str]]:
    try:
        workers = ask(targets, broker_url, celery_app)
    except BrokerError as error:
        return None, [f"the workers can't be asked: {error}"]
    return workers, [] if workers is None else doctor.of_workers(targets, workers)
