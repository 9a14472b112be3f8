"""`manage.py bridge_sync`: changes the watches in the database to the declared ones, or shows the differences."""

import sys
from typing import Any

from django.core.management.base import BaseCommand, CommandParser

from django_app.database import alias, connect
from django_app.declarations import sync


class Command(BaseCommand):
    help = "Changes the watches in the database to the declared ones, and shows what it changed."
    requires_migrations_checks = False

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--check", action="store_true", help="Change nothing; exit with 1 if anything differs.")
        parser.add_argument("--database", default=None, help="An alias. Default: the setting BRIDGE_DATABASE.")

    def handle(self, *, check: bool, database: str | None, **options: Any) -> None:
        connection = connect(database or alias())
        plan = sync.look(connection) if check else sync.bring_in_line(connection)
        for line in plan.lines():
            self.stdout.write(line)
        if not plan:
            self.stdout.write("All watches match their declarations.")
        elif check or plan.later:
            sys.exit(1)
