"""The command `bridge`. Its exit codes are in docs/reference/commands.md#exit-codes."""

import sys

import click

from bridge.cli.apply import apply
from bridge.cli.dead_letters import dead_letters
from bridge.cli.install import install
from bridge.cli.run import run
from bridge.cli.status import status
from bridge.cli.tail import tail

_HELP = {"help_option_names": ["-h", "--help"], "max_content_width": 110}


@click.group(context_settings=_HELP)
@click.version_option(package_name="commit-bridge")
def cli() -> None:
    """Committed PostgreSQL rows start Celery tasks.

    \b
    1. bridge install             create the schema `bridge` in your database (or: psql -f triggers.sql)
    2. bridge apply bridge.toml   declare which tables start which tasks (or: select bridge.watch(...))
    3. bridge run                 turn committed changes into tasks

    Every setting of `bridge run` has an environment variable: BRIDGE_DATABASE_URL, BRIDGE_BROKER_URL, ...

    \b
    Exit codes
    0  success; `bridge run`: stopped by a signal
    1  found a problem
    2  wrong use, or invalid configuration; retrying will not help
    3  `bridge run`: stopped, but gave up a batch; the next run publishes it again
    """


for command in (install, apply, run, status, tail, dead_letters):
    cli.add_command(command)


def main() -> None:
    """Runs the command. This is the entry point of the console script."""
    try:
        cli(standalone_mode=False)
    except click.exceptions.Abort:
        sys.exit(130)
    except click.exceptions.NoArgsIsHelpError as error:
        click.echo(error.format_message())
        sys.exit(2)
    except click.ClickException as error:
        error.show()
        sys.exit(2)
    except click.exceptions.Exit as error:
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        sys.exit(130)
