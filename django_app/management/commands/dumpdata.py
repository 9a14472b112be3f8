"""Django's `dumpdata` without the bridge's tables: loaded elsewhere, an event would tell of what happened here."""

from typing import Any

from django.core.management.base import CommandError
from django.core.management.commands import dumpdata

_LABEL = "bridge"


class Command(dumpdata.Command):
    """Takes everything along but the app `bridge`."""

    def handle(self, *app_labels: str, **options: Any) -> None:
        """CommandError when it is asked for by name."""
        if any(label.split(".")[0] == _LABEL for label in app_labels):
            raise CommandError(
                "The bridge's tables are no data of Django's: watches come from the code, and events belong to this "
                "database. pg_dump takes them along."
            )
        options["exclude"] = [*options["exclude"], _LABEL]
        super().handle(*app_labels, **options)
