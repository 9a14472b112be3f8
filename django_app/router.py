"""Keeps the bridge's tables out of fixtures: what one cluster has recorded means nothing in another one.

An event carries its transaction's id, by which the relay finds it; loaded elsewhere it would be published again and
again, or never. `dumpdata` and `loaddata` both ask the database routers whether a model belongs to the database.
"""

from typing import Any

from django.core.signals import setting_changed
from django.db import router


class FixtureRouter:
    def allow_migrate(self, db: str, app_label: str, model_name: str | None = None, **hints: Any) -> bool | None:
        """Django makes none of the app's tables, so migrations lose nothing by a no; of other apps it knows nothing."""
        return False if app_label == "bridge" and model_name is not None else None


def install() -> None:
    """Puts it first, since the first router that has an opinion decides.

    Not through the setting DATABASE_ROUTERS: where that has an entry, `makemigrations` asks all databases.
    """
    if not any(isinstance(each, FixtureRouter) for each in router.routers):
        router.routers.insert(0, FixtureRouter())
    setting_changed.connect(_stay)


def _stay(*, setting: str, **_: Any) -> None:
    """override_settings() makes the list anew, in a receiver of this signal: ours has to come after it."""
    setting_changed.disconnect(_stay)
    setting_changed.connect(_stay)
    if setting == "DATABASE_ROUTERS":
        install()
