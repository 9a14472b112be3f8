"""The group of all commands of `manage.py bridge`."""

import click

from bridge.cli import main
from django_app.cli.apply import apply
from django_app.cli.explain import explain
from django_app.cli.run import run
from django_app.cli.shadow import shadow


@click.group("bridge", context_settings=main.HELP)
@click.version_option(package_name="commit-bridge")
def group() -> None:
    """Committed rows start Celery tasks.

    The database and the Celery app are those of this project's settings.

    \b
    1. manage.py migrate                install the schema `bridge` and the declared watches
    2. manage.py bridge run             turn committed changes into tasks
       manage.py bridge run --worker    in development: with a Celery worker, reloaded when code changes
    3. manage.py bridge doctor          find what is wrong, with the command that mends it

    \b
    Exit codes
    0  success; `bridge run`: stopped by a signal
    1  found a problem
    2  wrong use, or invalid configuration; retrying will not help
    3  `bridge run`: stopped, but gave up a batch; the next run publishes it again
    """


for command in (*main.COMMANDS, apply, run, explain, shadow):
    group.add_command(command)
