"""The command `manage.py bridge explain`."""

import json
from typing import Any

import click
from django.apps import apps
from django.core.exceptions import ValidationError
from django.db import DatabaseError
from django.db.backends.base.base import BaseDatabaseWrapper

from bridge.errors import BridgeError
from bridge.publisher.workers import Workers, ask
from django_app.database import aliases, bridge_command, connect, installed_version, migrate_command, sentence
from django_app.declarations import registry
from django_app.errors import DeclarationError
from django_app.explanation import InstalledWatch, changes_of, describe, watches_of, why_nothing
from django_app.project import celery_app
from django_app.watched import Model, by_home, keys_of, watched


@click.command()
@click.argument("model", metavar="APP.MODEL")
@click.option("--pk", help="Also show the last changes of the row with this primary key, and what became of them.")
@click.option("--database", default=None, help="An alias. Default: all that BRIDGE_DATABASE names.")
def explain(model: str, pk: str | None, database: str | None) -> None:
    """Show what is watched of APP.MODEL: the triggers, the condition, the task, the queue, and its workers.

    With --pk it shows the last changes of that row with the tasks that they started, and which changes start nothing.
    A composite primary key is a JSON array, such as '[1, "a"]'. Write --pk=-1 for a value that begins with a dash.
    """
    chosen = _model(model)
    value = None if pk is None else _value(chosen, pk)
    databases = [database] if database else aliases()
    found = {using: watches for using in databases if (watches := _watches(using, chosen))}
    if not found:
        mend = migrate_command(databases[0])
        click.echo(f"Nothing is installed that watches {chosen._meta.label}. Declare a watch, then `{mend}`.")
    for using, watches in found.items():
        if len(databases) > 1:
            click.echo(f"Database {using}:")
        _describe(using, [watch for listed in watches.values() for watch in listed])
        if pk is not None:
            _explain_row(using, watches, chosen, value, f"{chosen._meta.label} {pk}")


def _describe(using: str, watches: list[InstalledWatch]) -> None:
    origins = _origins()
    workers = _workers(watches)
    repair = bridge_command((using,), "repair")
    for watch in watches:
        click.echo("\n".join(describe(watch, origins.get(watch.name), workers, repair)))


def _explain_row(using: str, watches: dict[Model, list[InstalledWatch]], model: Model, value: Any, label: str) -> None:
    """`watches` has those of the model and of its parents: an inherited field is a column of the parent's table."""
    connection = connect(using)
    rows = {home: home._base_manager.using(using).filter(pk=value).first() for home in watches}
    every = [watch for listed in watches.values() for watch in listed]
    keys = _keys(connection, model, value, {watch.name for watch in every}, label)
    click.echo(f"\nThe last changes of {label}:")
    click.echo("\n".join(changes_of(connection, every, keys)))
    click.echo("\nWhat starts nothing:")
    for home, listed in watches.items():
        for watch in listed:
            if watch.name not in keys:
                click.echo(f"  {watch.name}: the key of its events is known only while the row exists")
            for line in why_nothing(connection, watch, rows[home]):
                click.echo(line)
    if None in rows.values():
        click.echo("  the row does not exist now")


def _keys(connection: BaseDatabaseWrapper, model: Model, value: Any, names: set[str], label: str) -> dict[str, str]:
    installed = [each for name, each in watched(connection).items() if name in names]
    try:
        return keys_of(connection, by_home(model, installed), value)
    except DatabaseError as error:
        raise click.ClickException(f"{label}: the keys of its events can't be read: {sentence(error)}") from error


def _watches(using: str, model: Model) -> dict[Model, list[InstalledWatch]]:
    """Returns the watches of the model's table and of its parents' tables."""
    connection = connect(using)
    if installed_version(connection) is None:
        raise click.ClickException(f"the database '{using}' has no schema bridge; run `{migrate_command(using)}`")
    found: dict[Model, list[InstalledWatch]] = {}
    tables = set()
    for home in (model, *model._meta.get_parent_list()):
        if home._meta.db_table not in tables:  # a proxy has the table of its parent
            tables.add(home._meta.db_table)
            found[home] = watches_of(connection, home)
    return {home: watches for home, watches in found.items() if watches}


def _model(label: str) -> Model:
    try:
        return apps.get_model(label)
    except (LookupError, ValueError):
        known = sorted(model._meta.label for model in apps.get_models(include_auto_created=True))
        name = label.rpartition(".")[2].lower()
        near = [each for each in known if each.rpartition(".")[2].lower() == name]
        said = f"Did you mean {' or '.join(near)}?" if near else f"The models are: {', '.join(known)}"
        raise click.ClickException(f"{label} is not a model of this project, written as APP.MODEL. {said}") from None


def _value(model: Model, pk: str) -> Any:
    """Returns the primary key as Python has it. A composite one is given as a JSON array."""
    fields = model._meta.pk_fields
    refused = f"{pk} is not a primary key of {model._meta.label}"
    try:
        values = json.loads(pk) if len(fields) > 1 else [pk]
    except ValueError as error:
        raise click.ClickException(f"{refused}: it is composite, and this is not a JSON array ({error})") from error
    if not isinstance(values, list) or len(values) != len(fields) or None in values:
        names = ", ".join(field.name for field in fields)
        raise click.ClickException(f"{refused}: write a JSON array of {len(fields)} values: {names}")
    try:
        python = [field.to_python(each) for field, each in zip(fields, values, strict=True)]
    except (TypeError, ValueError, ValidationError) as error:
        said = "; ".join(error.messages) if isinstance(error, ValidationError) else str(error)
        raise click.ClickException(f"{refused}: {said}") from error
    return tuple(python) if len(fields) > 1 else python[0]


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
