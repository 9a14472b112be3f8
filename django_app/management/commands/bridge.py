"""`manage.py bridge`: the whole command line of `bridge`, with the project's database and Celery app."""

import argparse
import os
from collections.abc import Sequence
from functools import partial
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import Error, connections

from bridge.cli.main import run_group
from bridge.cli.options import Project
from django_app.cli.environment import project_environment
from django_app.cli.group import group
from django_app.database import alias, aliases, bridge_command, connect, refusal
from django_app.findings import findings

_READ_IT_THEMSELVES = ("apply", "explain", "shadow")
"""The commands that have an option --database of their own."""


class Command(BaseCommand):
    help = "Runs a command of Commit Bridge with this project's database and Celery app; try `manage.py bridge --help`."
    requires_system_checks = ()

    def run_from_argv(self, argv: list[str]) -> None:
        """Gives the words of the command line to our own parser, whose help explains each command."""
        try:
            self._run(_without_django_options(argv[2:]))
        except CommandError as error:
            if "--traceback" in argv:
                raise
            self.stderr.write(f"Error: {error}")
            raise SystemExit(2) from None

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("words", nargs=argparse.REMAINDER, help="A command and its options, such as: status --json")

    def handle(self, *, words: Sequence[str], **options: Any) -> None:
        """Runs the words that `call_command("bridge", ...)` gives."""
        self._run(list(words))

    def _run(self, words: list[str]) -> None:
        if not words or {"-h", "--help", "--version"} & set(words):
            run_group(group, words, "manage.py bridge")
            return
        words, named = _databases(words)
        default = aliases() if words[:1] == ["run"] else (alias(),)
        try:
            with project_environment(named or default, is_named=bool(named)):
                project = Project(_findings, partial(bridge_command, named or default))
                run_group(group, words, "manage.py bridge", project)
        except Error as error:
            raise CommandError(refusal(error)) from error


def _findings() -> list[str]:
    """Returns the findings of this project. It runs in a thread of its own, whose connections it closes."""
    try:
        return findings()
    finally:
        connections.close_all()


def _databases(words: list[str]) -> tuple[list[str], list[str]]:
    """Returns the words without --database, and the databases that it names. One `run` serves several databases; the
    other commands look at one."""
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False, exit_on_error=False)
    parser.add_argument("--database", action="append", default=[])
    try:
        known, rest = parser.parse_known_args(words)
    except argparse.ArgumentError as error:
        raise CommandError("--database needs an alias of DATABASES") from error
    named: list[str] = known.database
    for using in named:
        connect(using)
    if len(named) > 1 and rest[:1] != ["run"]:
        raise CommandError(f"this command looks at one database, and --database names {', '.join(named)}")
    if rest[:1] and rest[0] in _READ_IT_THEMSELVES:
        rest[1:1] = [f"--database={using}" for using in named]
    return rest, named


def _without_django_options(words: list[str]) -> list[str]:
    """Removes the options that Django gives to every command. Django itself has read --settings and --pythonpath; the
    two about colors become the variables that programs agree on (https://no-color.org); no check runs here anyway."""
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    for valued in ("--settings", "--pythonpath"):
        parser.add_argument(valued)
    parser.add_argument("-v", "--verbosity")
    for flag in ("--no-color", "--force-color", "--traceback", "--skip-checks"):
        parser.add_argument(flag, action="store_true")
    known, rest = parser.parse_known_args(words)
    if known.no_color:
        os.environ["NO_COLOR"] = "1"
    elif known.force_color:
        os.environ["FORCE_COLOR"] = "1"
    return rest
