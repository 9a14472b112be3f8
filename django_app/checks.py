"""System checks: they find errors in the declarations before anything reaches the database.

docs/reference/django.md lists the ids. `check --database` and `check --deploy` run more of them.
"""

from collections.abc import Iterator, Sequence
from difflib import get_close_matches
from typing import Any

from celery import Celery
from django.apps import apps
from django.conf import settings
from django.core.checks import CheckMessage, Error, Warning  # noqa: A004 - Django's own name
from django.db import connections
from django.utils.module_loading import import_string

from bridge.watch import Watch
from django_app.database import aliases, connect, has_schema, is_supported, stranger
from django_app.declarations import registry
from django_app.declarations.declaration import Declaration
from django_app.errors import DeclarationError
from django_app.findings import findings_in, is_migrating
from django_app.project import load_app, why_no_app
from django_app.signature import complaint

_MIDDLEWARE = "django_app.middleware.ContextMiddleware"


def check_database(app_configs: Any, **_: Any) -> list[CheckMessage]:
    return [message for using in aliases() for message in _check_alias(using)]


def _check_alias(using: str) -> Iterator[CheckMessage]:
    if using not in connections.settings:
        known = ", ".join(connections.settings)
        yield Error(
            f"BRIDGE_DATABASE names '{using}', which DATABASES does not have.",
            hint=f"Set it to one of: {known}.",
            id="bridge.E003",
        )
    elif not is_supported(using):
        yield Warning(
            f"The database '{using}' is {connections[using].display_name}, so no watch is installed there, and "
            "no task starts.",
            hint="Use PostgreSQL, or set BRIDGE_DATABASE to the alias of a PostgreSQL database. To test on this "
            "database is fine.",
            id="bridge.W001",
        )


def check_declarations(app_configs: Any, **_: Any) -> list[CheckMessage]:
    found: list[CheckMessage] = []
    origins: dict[str, str] = {}
    declared = registry.declared()
    if declared and (reason := why_no_app()):
        found.append(
            Warning(
                f"The tasks can't be looked up: {reason}",
                hint="Without the app, nobody can check the tasks that the watches name.",
                id="bridge.W002",
            )
        )
    for declaration in declared:
        try:
            watch = declaration.watch()
            _check_place(declaration)
        except DeclarationError as error:
            found.append(Error(error.said, hint=error.fix, id=error.check_id))
            continue
        if watch.name in origins:
            found.append(
                Error(
                    f"Two watches are named '{watch.name}': {origins[watch.name]} and {declaration.origin}.",
                    hint='Give one of them another name: watch(..., name="...").',
                    id="bridge.E002",
                )
            )
        origins.setdefault(watch.name, declaration.origin)
        found += _check_task(declaration, watch)
    return found


def check_installation(app_configs: Any, databases: Sequence[str] | None = None, **_: Any) -> list[CheckMessage]:
    """Compares the declarations with the database. Only `migrate` and `check --database` ask for it."""
    if is_migrating():
        return []
    chosen = [using for using in aliases() if using in (databases or ()) and is_supported(using)]
    found = [finding for using in chosen for finding in findings_in(using)]
    return [Warning(f"{finding[0].upper()}{finding[1:].rstrip('.')}.", id="bridge.W010") for finding in found]


def check_middleware(app_configs: Any, **_: Any) -> list[CheckMessage]:
    """Finds a site whose admin would show events without users. Only `check --deploy` asks for it."""
    if not apps.is_installed("django.contrib.admin") or any(map(_is_ours, settings.MIDDLEWARE)):
        return []
    return [
        Warning(
            "MIDDLEWARE has no ContextMiddleware, so no event says which user and request made its change.",
            hint=f"Put '{_MIDDLEWARE}' behind AuthenticationMiddleware.",
            id="bridge.W023",
        )
    ]


def _is_ours(path: str) -> bool:
    # By its name, since its import would need django.contrib.auth, which a site may be without.
    middleware = import_string(path)
    return _MIDDLEWARE in [f"{each.__module__}.{each.__qualname__}" for each in getattr(middleware, "__mro__", ())]


def check_role(app_configs: Any, databases: Sequence[str] | None = None, **_: Any) -> list[CheckMessage]:
    """Finds a role with more rights than an application needs. Only `check --deploy --database` asks for it."""
    return [
        Warning(
            f"The role of the database '{using}' owns the schema bridge, so the site could change watches and the log.",
            hint="Let another role migrate, and give this one only what it needs: docs/howto/roles.md.",
            id="bridge.W022",
        )
        for using in filter(is_supported, aliases())
        if using in (databases or ()) and has_schema(connect(using)) and stranger(connect(using)) is None
    ]


def check_deployment(app_configs: Any, **_: Any) -> list[CheckMessage]:
    """Finds settings that are unsafe in production. Only `check --deploy` asks for it."""
    found: list[CheckMessage] = []
    for using in filter(is_supported, aliases()):
        values = connect(using).get_connection_params()
        host = str(values.get("host") or "")
        if _is_remote(host) and values.get("sslmode", "prefer") in ("disable", "allow", "prefer"):
            found.append(
                Warning(
                    f"The connection to the database '{using}' on {host} may be without TLS.",
                    hint=f"Set DATABASES['{using}']['OPTIONS']['sslmode'] to 'verify-full'.",
                    id="bridge.W020",
                )
            )
    app = load_app()
    if app is not None:
        with app.connection_for_write() as broker:
            if _is_remote(broker.hostname or "") and not (
                broker.ssl or broker.as_uri().startswith(("amqps", "rediss"))
            ):
                found.append(
                    Warning(
                        f"The connection to the broker on {broker.hostname} is without TLS.",
                        hint="Use an address that begins with amqps:// or rediss://.",
                        id="bridge.W021",
                    )
                )
    return found


def _is_remote(host: str) -> bool:
    # kombu's host of a Redis on a Unix socket begins with socket://.
    return bool(host) and not host.startswith(("/", "socket://")) and host not in ("localhost", "127.0.0.1", "::1")


def _check_task(declaration: Declaration, watch: Watch) -> Iterator[CheckMessage]:
    app = load_app()
    if app is None:
        return
    if watch.task not in app.tasks:
        close = get_close_matches(watch.task, sorted(app.tasks), 1)
        yield Warning(
            f"{declaration.origin}: no task named '{watch.task}' is registered in the app {app.main}.",
            hint=f"Did you mean '{close[0]}'?" if close else "Correct the name, or import the task's module.",
            id="bridge.W003",
        )
        if watch.own_writes == "ignore":
            yield Warning(
                f"{declaration.origin}: own_writes = 'ignore' needs the worker's integration, and '{watch.task}' "
                "is a task of another app, whose worker may be without it.",
                hint="Call bridge.worker.install() where that app is defined; without it the task starts itself again.",
                id="bridge.W005",
            )
    elif wrong := complaint(app.tasks[watch.task], declaration.table, watch):
        yield Warning(
            f"{declaration.origin}: the task '{watch.task}' {wrong[0]}.",
            hint=wrong[1],
            id="bridge.W007",
        )
    if watch.expires and watch.countdown and watch.expires <= watch.countdown:
        yield Warning(
            f"{declaration.origin}: the task expires after {watch.expires:g} s, before its countdown of "
            f"{watch.countdown:g} s is over, so it never runs.",
            hint="Both are counted from publishing: make `expires` longer than `countdown`.",
            id="bridge.W008",
        )
    if not declaration.rule.get("shadow") and _goes_into_an_outbox(app, watch.task):
        yield Warning(
            f"{declaration.origin}: the Celery app is an OutboxCelery, so '{watch.task}' would go from the bridge into "
            "the outbox of django-celery-outbox, and not to the broker.",
            hint=f"Add '{watch.task}' to the setting CELERY_OUTBOX_EXCLUDE_TASKS.",
            id="bridge.W006",
        )
    queues: Any = app.conf.task_queues
    names = [getattr(queue, "name", queue) for queue in queues or ()]
    queue = watch.queue if isinstance(watch.queue, str) else None
    if queue and names and queue not in names:
        yield Warning(
            f"{declaration.origin}: the queue '{queue}' is not among the app's task_queues, so no worker reads it "
            "unless it is started with -Q.",
            hint=f"The queues are: {', '.join(names)}.",
            id="bridge.W004",
        )


def _goes_into_an_outbox(app: Celery, task: str) -> bool:
    is_outbox = any(each.__module__.partition(".")[0] == "django_celery_outbox" for each in type(app).__mro__)
    return is_outbox and task not in getattr(settings, "CELERY_OUTBOX_EXCLUDE_TASKS", ())


def _check_place(declaration: Declaration) -> None:
    if declaration.home not in aliases():
        named = declaration.table._meta.label if hasattr(declaration.table, "_meta") else f"{declaration.table}"
        raise DeclarationError(
            "bridge.E010",
            declaration.origin,
            f"{named} is in the database '{declaration.home}', but the bridge is in '{', '.join(aliases())}'",
            "Name this database in BRIDGE_DATABASE too, which may be a list.",
        )
