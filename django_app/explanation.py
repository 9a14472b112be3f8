"""Explanation: what is watched of a model, what each watch starts, and what became of the changes of one row."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from django.db import DatabaseError, models, transaction
from django.db.backends.base.base import BaseDatabaseWrapper
from psycopg import sql

from bridge.call import Call, Target, call_for, targets_of, without_own_writes
from bridge.database.statement import statement
from bridge.publisher.workers import Workers
from bridge.stream.row import event_of
from django_app.database import sentence
from django_app.declarations.table import quoted

_WATCHES = statement("find_watches_of", "django_app")
_CHANGES = statement("find_changes_of_row", "django_app")


class InstalledWatch(NamedTuple):
    """One watch of a table, as the database has it."""

    name: str
    task: str
    operations: list[str]
    columns: list[str] | None
    condition: str | None
    stream: str
    options: str
    triggers: list[str]
    is_intact: bool

    @property
    def target(self) -> Target:
        return targets_of([(self.name, self.task, self.options)], ()).watches[self.name]


def watches_of(connection: BaseDatabaseWrapper, model: type[models.Model]) -> list[InstalledWatch]:
    """Returns the installed watches of the model's table, ordered by name."""
    with connection.cursor() as cursor:
        cursor.execute(_WATCHES, {"table": quoted(model._meta.db_table)})
        return [InstalledWatch(*row) for row in cursor]


def describe(watch: InstalledWatch, origin: str | None, workers: Workers | None, repair: str) -> Iterator[str]:
    """Yields what a watch does, a line each. `repair` is the command that repairs its triggers."""
    yield watch.name + (f"  ({origin})" if origin else "  (not declared in this project)")
    columns = f" of {', '.join(watch.columns)}" if watch.columns else ""
    yield "  on        " + ", ".join(on + (columns if on == "update" else "") for on in watch.operations)
    if watch.condition:
        yield f"  when      {watch.condition}"
    yield f"  task      {watch.task}"
    yield f"  queue     {_queue(watch, workers)}"
    yield f"  stream    {watch.stream}"
    for trigger in watch.triggers:
        yield f"  trigger   {trigger}"
    if not watch.is_intact:
        yield f"  ! its triggers are missing, disabled or outdated; run `{repair}`"


def _queue(watch: InstalledWatch, workers: Workers | None) -> str:
    if workers is None:
        return "not known, since the workers could not be asked"
    queue = workers.routes.get(watch.name)
    readers = [worker for worker, queues in workers.queues.items() if queue in queues]
    aware = [worker for worker in readers if watch.task in workers.tasks.get(worker, ())]
    return f"{queue}, read by {len(readers)} workers, of which {len(aware)} know the task"


def changes_of(
    connection: BaseDatabaseWrapper, watches: Sequence[InstalledWatch], keys: Mapping[str, str]
) -> Iterator[str]:
    """Yields the newest recorded changes of a row, a line each, with what became of them. `keys` has the row's key in
    each watch, as JSON."""
    targets = targets_of([(watch.name, watch.task, watch.options) for watch in watches], ())
    values: dict[str, Any] = {
        "watches": list(keys),
        "keys": list(keys.values()),
        "streams": sorted({watch.stream for watch in watches}),
    }
    with connection.cursor() as cursor:
        cursor.execute(_CHANGES, values)
        rows = cursor.fetchall()
    if not rows:
        yield "  no change of this row is in the log (it keeps up to 24 hours)"
    for *row, fate in rows:
        event = event_of(tuple(row))
        call = call_for(event, targets)
        became = f"{fate}, task {call.task_id}" if isinstance(call, Call) else str(fate)
        if not without_own_writes([event], targets.ignoring):
            became = "starts nothing, since the task of this watch wrote it (own_writes)"
        if event.watch in targets.shadows:
            became = "recorded only, since the watch has the option shadow"
        yield f"  {event.at:%Y-%m-%d %H:%M:%S.%f} {event.watch} {event.op}: {became}"


def why_nothing(connection: BaseDatabaseWrapper, watch: InstalledWatch, row: models.Model | None) -> Iterator[str]:
    """Yields which changes of a row start nothing, and whether the condition holds for the row as it is now, if it
    exists."""
    missing = [op for op in ("insert", "update", "delete") if op not in watch.operations]
    if missing:
        yield f"  {watch.name} does not watch: {', '.join(missing)}"
    if "update" in watch.operations and watch.columns:
        yield f"  {watch.name} starts nothing for an update that leaves {', '.join(watch.columns)} as it was"
    elif "update" in watch.operations and not watch.target.options.get("unchanged"):
        yield f"  {watch.name} starts nothing for an update that changes no value"
    if watch.condition and row is not None:
        holds = _holds(connection, watch.condition, row)
        yield f"  {watch.name}: its condition, with the row as it is now as old and as new: {holds}"


def _holds(connection: BaseDatabaseWrapper, condition: str, row: models.Model) -> str:
    options = row._meta
    table = sql.SQL(quoted(options.db_table))
    keys = [(str(field.column), field.get_db_prep_value(row.serializable_value(field.attname), connection))
            for field in options.pk_fields]  # fmt: skip
    same = sql.SQL(" and ").join(
        sql.SQL("{0}.{1} = {2}").format(sql.Identifier(side), sql.Identifier(column), sql.Placeholder())
        for side in ("old", "new")
        for column, _ in keys
    )
    text = sql.SQL("select ({}) from {} as old, {} as new where {}").format(
        sql.SQL(condition.replace("%", "%%")),
        table,
        table,
        same,
    )
    try:
        with transaction.atomic(using=connection.alias), connection.cursor() as cursor:
            cursor.execute(text, [value for _ in range(2) for _, value in keys])
            found = cursor.fetchone()
    except DatabaseError as error:
        return f"it fails ({sentence(error)})"
    return {True: "true", False: "false", None: "null, which counts as false"}[found[0] if found else None]
