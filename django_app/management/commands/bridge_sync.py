"""`manage.py bridge_sync`: another name of `manage.py bridge apply`."""

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import Error

from django_app.cli.apply import make_them_match
from django_app.database import refusal


class Command(BaseCommand):
    help = "Changes the watches in the database to the declared ones, and shows what it changed."
    requires_migrations_checks = False

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--check", action="store_true", help="Change nothing; exit with 1 if anything differs.")
        parser.add_argument("--database", default=None, help="An alias. Default: the setting BRIDGE_DATABASE.")

    def handle(self, *, check: bool, database: str | None, **options: Any) -> None:
        try:
            make_them_match(check, database, self.stdout.write)
        except Error as error:
            raise CommandError(refusal(error)) from error
