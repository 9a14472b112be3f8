"""`manage.py migrate`: as Django's own, and `--check` also fails for watches that are not installed as declared."""

import sys
from typing import Any

from django.core.management.commands import migrate

from django_app.database import aliases, is_supported
from django_app.findings import findings_in, while_migrating


class Command(migrate.Command):
    def execute(self, *args: Any, **options: Any) -> Any:
        # Django runs the system checks here, before handle().
        with while_migrating():
            return super().execute(*args, **options)

    def handle(self, *args: Any, **options: Any) -> None:
        super().handle(*args, **options)
        if options["check_unapplied"] and options["database"] in aliases():
            # Django's own check has passed, or the process would have ended.
            found = findings_in(options["database"]) if is_supported(options["database"]) else []
            for finding in found:
                self.stdout.write(f"  {finding}")
            if found:
                sys.exit(1)
