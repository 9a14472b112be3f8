"""The installed app: discovers the watches, checks them, and updates the database after `migrate`."""

import sys
from typing import Any

from django.apps import AppConfig
from django.conf import settings
from django.core.checks import Tags, register
from django.core.signals import request_started
from django.db.models.signals import post_migrate, pre_migrate

from bridge import worker
from django_app import allowances, checks, context, findings, log_index, router
from django_app.database import aliases, is_supported
from django_app.declarations import registry, sync
from django_app.shadow import receiver

_migrating: set[str] = set()
"""The databases whose migration has begun, by alias."""


class BridgeConfig(AppConfig):
    name = "django_app"
    label = "bridge"
    verbose_name = "Commit Bridge"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        registry.autodiscover()
        registry.when_shadowed(receiver.install)
        router.install()
        context.install()
        worker.install()
        register(checks.check_database)
        register(checks.check_declarations)
        register(checks.check_installation, Tags.database)
        register(checks.check_deployment, Tags.security, deploy=True)
        register(checks.check_middleware, Tags.security, deploy=True)
        register(checks.check_role, Tags.database, deploy=True)
        if settings.DEBUG:
            request_started.connect(findings.remind)
        # The identifiers keep each receiver single, however often the apps are loaded.
        pre_migrate.connect(_guard, dispatch_uid="bridge.guard")
        post_migrate.connect(_bring_in_line, dispatch_uid="bridge.bring_in_line")


# Django sends these signals once per app. Those of this app arrive once per run: before and after all migrations. The
# sender is compared here, since a connection with a sender compares only its id. Python may give that id to another
# object when the apps are loaded again, as tests do.
def _guard(sender: AppConfig, using: str, verbosity: int, **rest: Any) -> None:
    if isinstance(sender, BridgeConfig) and _is_served(using):
        _migrating.add(using)
        sync.before_migrate(using, verbosity, rest.get("stdout"))


def _bring_in_line(sender: AppConfig, using: str, verbosity: int, **rest: Any) -> None:
    # `flush`, which TransactionTestCase calls after each test, sends this signal alone, and changes no table or watch.
    if isinstance(sender, BridgeConfig) and using in _migrating:
        _migrating.discard(using)
        sync.after_migrate(using, verbosity, rest.get("stdout"))
        allowances.after_migrate(using, verbosity, rest.get("stdout"))
        out = rest.get("stdout") or sys.stdout
        log_index.after_migrate(using, lambda line: out.write(f"  {line}\n") if verbosity else None)


def _is_served(using: str) -> bool:
    return using in aliases() and is_supported(using)
