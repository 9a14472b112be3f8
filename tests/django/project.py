"""A Django project with the bridge's app and the app `shelf`, whose migrations a test writes."""

import sys
from collections.abc import Callable, Sequence
from itertools import count
from pathlib import Path
from typing import Any, Self

import pytest
from django.core.management import call_command
from django.db import OperationalError
from django.db.models.signals import post_migrate
from django.test import override_settings

from tests.django.operation import MODELS

_packages = count(1)
_MIGRATION = """
from django.db import migrations, models
from psycopg import sql


def reprice(apps, editor):
    apps.get_model("shelf", "Product").objects.update(price=7)


class Migration(migrations.Migration):
    atomic = {atomic}
    dependencies = {dependencies}
    operations = [{operations}]
"""


class Project:
    def __init__(self, directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        # Each test needs a new package, because Python caches the modules of the last one.
        self._package = f"shelf_migrations_{next(_packages)}"
        self._folder = directory / self._package
        self._folder.mkdir()
        (self._folder / "__init__.py").touch()
        self.names: list[str] = []
        monkeypatch.syspath_prepend(directory)
        self.declared: list[dict[str, Any]] = []
        self._settings = override_settings(
            INSTALLED_APPS=["tests.django.shelf", "django_app"],
            MIGRATION_MODULES={"shelf": self._package},
            BRIDGE_WATCHES=self.declared,
        )
        self.add("models", MODELS)

    def __enter__(self) -> Self:
        self._settings.enable()
        return self

    def __exit__(self, *_: object) -> None:
        self._settings.disable()
        for name in [name for name in sys.modules if name.startswith(self._package)]:
            del sys.modules[name]

    def add(self, name: str, operations: str, *, atomic: bool = True) -> str:
        """Adds a migration after the last one. Returns its name in the form that `migrate` takes."""
        named = f"{len(self.names) + 1:04}_{name}"
        dependencies = [("shelf", self.names[-1])] if self.names else []
        text = _MIGRATION.format(atomic=atomic, dependencies=dependencies, operations=operations)
        (self._folder / f"{named}.py").write_text(text)
        self.names.append(named)
        return named

    def declare(self, watches: Sequence[dict[str, Any]]) -> None:
        self.declared[:] = watches

    def migrate(self, to: str | None = None, before_sync: Callable[[], None] | None = None) -> str:
        """Runs the command `migrate` and returns its output. `before_sync` is called after all migrations."""
        out = _Out()

        def called(**_: Any) -> None:
            if before_sync is not None:
                before_sync()

        # The app `shelf` comes first, so its signal is sent before the bridge updates the watches.
        from_shelf = _sender()
        post_migrate.connect(called, sender=from_shelf, weak=False)
        try:
            for attempt in range(5):
                try:
                    call_command("migrate", *(["shelf", to] if to else []), verbosity=1, stdout=out, no_color=True)
                except OperationalError as error:
                    # The check of a foreign key and the removal of its table can deadlock, on any table.
                    if attempt == 4 or "waits for RowShareLock" not in str(error):
                        raise
                except Exception as error:
                    error.add_note(out.text)
                    raise
                else:
                    break
        finally:
            post_migrate.disconnect(called, sender=from_shelf)
        return out.text


class _Out:
    def __init__(self) -> None:
        self.text = ""

    def write(self, text: str) -> None:
        self.text += text

    def flush(self) -> None:
        pass


def _sender() -> Any:
    from django.apps import apps  # noqa: PLC0415 - the registry of the overridden settings

    return apps.get_app_config("shelf")
