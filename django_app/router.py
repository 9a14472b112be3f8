"""Keeps the bridge's tables out of fixtures: what one cluster has recorded means nothing in another one.

An event has the id of its transaction, by which the relay finds it. Loaded in another cluster, it would be published
again and again, or never. `dumpdata` and `loaddata` both ask the database routers which models belong to a database.
"""

from typing import Any

from django.core.signals import setting_changed
from django.db import router


class FixtureRouter:
    def allow_migrate(self, db: str, app_label: str, model_name: str | None = None, **hints: Any) -> bool | None:
        """Returns False for the models of this app, and None, which means no opinion, for other apps.

        Migrations still work, since Django creates none of the app's tables.
        """
        return False if app_label == "bridge" and model_name is not None else None


def install() -> None:
    """Puts the router first, since the first router that has an opinion decides.

    It is not added to the setting DATABASE_ROUTERS, since `makemigrations` queries all databases if that has an entry.
    """
    if not any(isinstance(each, FixtureRouter) for each in router.routers):
        router.routers.insert(0, FixtureRouter())
    setting_changed.connect(_stay)


def _stay(*, setting: str, **_: Any) -> None:
    """Installs the router again after override_settings() has replaced the list.

    Django does that in a receiver of this signal, so our receiver has to be connected after it.
    """
    setting_changed.disconnect(_stay)
    setting_changed.connect(_stay)
    if setting == "DATABASE_ROUTERS":
        install()
