"""`manage.py bridge`: the whole command line of `bridge`, with the project's database and Celery app."""

import argparse
from collections.abc import Sequence
from functools import partial
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import connections

from bridge.cli.main import run_group
from bridge.cli.options import Project
from django_app.cli.environment import project_environment
from django_app.cli.group import group
from django_app.database import alias, aliases, bridge_command
from django_app.findings import findings


class Command(BaseCommand):
    help = "Runs a command of Commit Bridge with this project's database and Celery app; try `manage.py bridge --help`."
    requires_system_checks = ()

    def run_from_argv(self, argv: list[str]) -> None:
        """Gives the words of the command line to our own parser, whose help explains each command."""
        try:
            self._run(_without_django_options(argv[2:]))
        except CommandError as error:
            self.stderr.write(f"Error: {error}")
            raise SystemExit(2) from None

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("words", nargs=argparse.REMAINDER, help="A command and its options, such as: status --json")

    def handle(self, *, words: Sequence[str], **options: Any) -> None:
        """Runs the words that `call_command("bridge", ...)` gives."""
        self._run(list(words))

    def _run(self, words: list[str]) -> None:
        if not words or {"-h", "--help"} & set(words):
            run_group(group, words, "manage.py bridge")
            return
        words, chosen = _databases(words)
        with project_environment(chosen):
            run_group(group, words, "manage.py bridge", Project(_findings, partial(bridge_command, chosen)))


def _findings() -> list[str]:
    """Returns the findings of this project. It runs in a thread of its own, whose connections it closes."""
    try:
        return findings()
    finally:
        connections.close_all()


def _databases(words: list[str]) -> tuple[list[str], Sequence[str]]:
    """Returns the words without --database, and the databases that the command uses. One `run` serves all databases of
    the bridge; the other commands look at one."""
    if words[0] in ("apply", "explain", "shadow"):
        return words, (alias(),)  # they read the option themselves
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument("--database")
    known, rest = parser.parse_known_args(words)
    return rest, (known.database,) if known.database else aliases() if words[0] == "run" else (alias(),)


def _without_django_options(words: list[str]) -> list[str]:
    """Removes --settings and --pythonpath, which Django has read already."""
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument("--settings")
    parser.add_argument("--pythonpath")
    return parser.parse_known_args(words)[1]
