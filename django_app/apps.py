"""The installed app: discovers the watches, checks them, and updates the database after `migrate`."""

from typing import Any

from django.apps import AppConfig
from django.core.checks import register
from django.db.models.signals import post_migrate, pre_migrate

from django_app import checks, router
from django_app.declarations import registry, sync


class BridgeConfig(AppConfig):
    name = "django_app"
    label = "bridge"
    verbose_name = "Commit Bridge"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        registry.autodiscover()
        router.install()
        register(checks.check_database)
        register(checks.check_declarations)
        # Django sends these signals once per app. With this sender each arrives once per run: before and after all
        # migrations.
        pre_migrate.connect(_guard, sender=self)
        post_migrate.connect(_bring_in_line, sender=self)


def _guard(using: str, verbosity: int, **rest: Any) -> None:
    sync.before_migrate(using, verbosity, rest.get("stdout"))


def _bring_in_line(using: str, verbosity: int, **rest: Any) -> None:
    sync.after_migrate(using, verbosity, rest.get("stdout"))
