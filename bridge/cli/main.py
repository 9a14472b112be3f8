"""The command `bridge`. Its exit codes are in docs/reference/commands.md#exit-codes."""

import sys
from collections.abc import Sequence

import click

from bridge.cli.apply import apply
from bridge.cli.dead_letters import dead_letters
from bridge.cli.doctor import doctor
from bridge.cli.install import install
from bridge.cli.options import Project
from bridge.cli.repair import repair
from bridge.cli.run import run
from bridge.cli.status import status
from bridge.cli.tail import tail

HELP = {"help_option_names": ["-h", "--help"], "max_content_width": 110}
COMMANDS = (install, apply, repair, run, status, doctor, tail, dead_letters)


@click.group(context_settings=HELP)
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


for command in COMMANDS:
    cli.add_command(command)


def main() -> None:
    """Runs the command. This is the entry point of the console script."""
    run_group(cli)


def run_group(
    group: click.Group, arguments: Sequence[str] | None = None, name: str | None = None, project: Project | None = None
) -> None:
    """Runs a command of the group, and exits with its code. By default, the arguments are those of this process.
    `project` is what a framework knows about the installation."""
    try:
        group(arguments, prog_name=name, standalone_mode=False, obj=project)
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
