"""The command `manage.py bridge explain`."""

import json
from typing import Any

import click
from django.apps import apps
from django.core.exceptions import ValidationError
from django.db import models, router
from django.db.models.fields.composite import CompositePrimaryKey

from bridge.errors import BridgeError
from bridge.publisher.workers import Workers, ask
from django_app.database import alias, aliases, bridge_command, connect, installed_version, migrate_command
from django_app.declarations import registry
from django_app.errors import DeclarationError
from django_app.explanation import InstalledWatch, changes_of, describe, watches_of, why_nothing
from django_app.project import celery_app


@click.command()
@click.argument("model", metavar="APP.MODEL")
@click.option("--pk", help="Also show the last changes of the row with this primary key, and what became of them.")
@click.option(
    "--database", default=None, help="An alias of DATABASES. Default: the one that the routers give the model."
)
def explain(model: str, pk: str | None, database: str | None) -> None:
    """Show what is watched of APP.MODEL: the triggers, the condition, the task, the queue, and its workers.

    With --pk it shows the last changes of that row with the tasks that they started, and which changes start nothing.
    """
    chosen = _model(model)
    using = database or _home(chosen)
    connection = connect(using)
    if installed_version(connection) is None:
        raise click.ClickException(f"the database '{using}' has no schema bridge; run `{migrate_command(using)}`")
    watches = watches_of(connection, chosen)
    if not watches:
        click.echo(
            f"Nothing is installed that watches {chosen._meta.label}. Declare a watch, then `{migrate_command(using)}`."
        )
        return
    origins = _origins()
    workers = _workers(watches)
    for watch in watches:
        click.echo("\n".join(describe(watch, origins.get(watch.name), workers, bridge_command((using,), "repair"))))
    if pk is None:
        return
    value = _value(chosen, pk)
    row = chosen._base_manager.using(using).filter(pk=value).first()
    click.echo(f"\nThe last changes of {chosen._meta.label} {pk}:")
    click.echo("\n".join(changes_of(connection, watches, _key(value))))
    click.echo("\nWhat starts nothing:")
    for watch in watches:
        for line in why_nothing(connection, watch, row) if row else ["  the row does not exist now"]:
            click.echo(line)


def _home(model: type[models.Model]) -> str:
    using = str(router.db_for_write(model))
    return using if using in aliases() else alias()


def _model(label: str) -> type[models.Model]:
    try:
        return apps.get_model(label)
    except (LookupError, ValueError) as error:
        known = ", ".join(sorted(model._meta.label for model in apps.get_models() if model._meta.managed))
        raise click.ClickException(
            f"{label} is not a model of this project ({error}). The models are: {known}"
        ) from None


def _value(model: type[models.Model], pk: str) -> Any:
    """Returns the primary key as Python has it. A composite one is given as a JSON array."""
    field = model._meta.pk
    try:
        return field.to_python(json.loads(pk) if isinstance(field, CompositePrimaryKey) else pk)
    except (TypeError, ValueError, ValidationError) as error:
        said = "; ".join(error.messages) if isinstance(error, ValidationError) else str(error)
        raise click.ClickException(f"{pk} is not a primary key of {model._meta.label}: {said}") from error


def _key(value: Any) -> list[object]:
    """Returns the key as events have it: the values as JSON, in order."""
    values = value if isinstance(value, list | tuple) else [value]
    return [each if isinstance(each, int | str | bool) else str(each) for each in values]


def _origins() -> dict[str, str]:
    origins = {}
    for declaration in registry.declared():
        try:
            origins[declaration.watch().name] = declaration.origin
        except DeclarationError:
            continue  # the system checks report it
    return origins


def _workers(watches: list[InstalledWatch]) -> Workers | None:
    try:
        return ask({watch.name: watch.target for watch in watches}, None, celery_app())
    except BridgeError as error:
        click.echo(f"! the workers can't be asked: {error}")
        return None
