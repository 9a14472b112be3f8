"""System checks: they find errors in the declarations before anything reaches the database."""

from typing import Any

from django.core.checks import CheckMessage, Error
from django.db import connections, router
from django.db.models import Model

from django_app.database import alias
from django_app.declarations import registry
from django_app.declarations.declaration import Declaration
from django_app.errors import DeclarationError


def check_database(app_configs: Any, **_: Any) -> list[CheckMessage]:
    if alias() not in connections.settings:
        known = ", ".join(connections.settings)
        return [
            Error(
                f"BRIDGE_DATABASE names '{alias()}', which DATABASES does not have.",
                hint=f"Set it to one of: {known}.",
                id="bridge.E003",
            )
        ]
    if connections[alias()].vendor != "postgresql":
        return [
            Error(
                f"The database '{alias()}' is {connections[alias()].display_name}, not PostgreSQL.",
                hint="Set BRIDGE_DATABASE to the alias of a PostgreSQL database.",
                id="bridge.E003",
            )
        ]
    return []


def check_declarations(app_configs: Any, **_: Any) -> list[CheckMessage]:
    found: list[CheckMessage] = []
    origins: dict[str, str] = {}
    for declaration in registry.declared():
        try:
            name = declaration.watch().name
            _check_place(declaration)
        except DeclarationError as error:
            found.append(Error(error.said, hint=error.fix, id=error.check_id))
            continue
        if name in origins:
            found.append(
                Error(
                    f"Two watches are named '{name}': {origins[name]} and {declaration.origin}.",
                    hint='Give one of them another name: watch(..., name="...").',
                    id="bridge.E002",
                )
            )
        origins.setdefault(name, declaration.origin)
    return found


def _check_place(declaration: Declaration) -> None:
    if not (isinstance(declaration.table, type) and issubclass(declaration.table, Model)):
        return
    home = router.db_for_write(declaration.table)
    if home != alias():
        raise DeclarationError(
            "bridge.E010",
            declaration.origin,
            f"{declaration.table._meta.label} is in the database '{home}', but the bridge is in '{alias()}'",
            "Watch models of one database only, or set BRIDGE_DATABASE.",
        )
