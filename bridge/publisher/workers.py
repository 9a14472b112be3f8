"""Workers: which tasks the running workers know, which queues they read, and to which queue each watch sends."""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

import msgspec
from celery import Celery
from kombu import Connection

from bridge.call import Target
from bridge.errors import BrokerError, ConfigError
from bridge.publisher.answer import sentence
from bridge.publisher.app import load
from bridge.publisher.broker import require_encoded, transport_options
from bridge.secret import hidden, note

_WITHIN = 1
"""Seconds that workers have to answer: Celery's own default for its remote control."""


class Workers(msgspec.Struct, frozen=True):
    """The answers of the running workers, by their names."""

    tasks: Mapping[str, frozenset[str]]
    """The names of the tasks that each worker knows."""
    queues: Mapping[str, frozenset[str]]
    """The queues that each worker reads."""
    routes: Mapping[str, str]
    """The queue of each watch. A watch is missing where no single queue is known, as for a fanout exchange."""
    command: Sequence[str]
    """The words of the command that starts a worker; empty if the app is not known."""


def ask(targets: Mapping[str, Target], broker_url: str | None, app_path: str | None) -> Workers | None:
    """Asks all running workers. Returns None if there is nothing to ask with, or the transport has no remote control.

    Raises BrokerError if the broker is away, and ConfigError if the app can't be loaded.
    """
    if not broker_url and not app_path:
        return None
    note(broker_url)
    app = load(app_path) if app_path else Celery("bridge", set_as_current=False)
    if broker_url:
        app.conf.update(broker_url=broker_url, broker_read_url=broker_url, broker_write_url=broker_url)
    require_encoded(app)
    routes = {name: queue for name, target in targets.items() if (queue := _queue(app, target))}
    try:
        with app.connection_for_write(transport_options=transport_options(app, seconds=5)) as connection:
            connection.ensure_connection(max_retries=1, timeout=_WITHIN)
            tasks, queues = (_answers(app, command, connection) for command in ("registered", "active_queues"))
    except NotImplementedError:
        return None
    except Exception as error:
        if isinstance(error, MemoryError | ConfigError):
            raise
        # kombu raises KeyError("No such transport: name") for the address of a broker that it does not know.
        said = str(error.args[0]) if isinstance(error, KeyError) and error.args else sentence(error)
        raise BrokerError(hidden(said)) from error
    return Workers(
        # A worker may add details: "shop.tasks.reprice [rate_limit=10/m]".
        tasks={worker: frozenset(name.partition(" ")[0] for name in names) for worker, names in tasks.items()},
        queues={worker: frozenset(queue["name"] for queue in read) for worker, read in queues.items()},
        routes=routes,
        command=("celery", "-A", app_path, "worker") if app_path else (),
    )


def _answers(app: Celery, command: str, connection: Connection) -> dict[str, list[Any]]:
    """Returns what the workers answer, by their names. Workers of one name count as one: the default name is that of
    the machine, so workers of two projects on one broker often share it, and Celery's own `inspect` keeps one of
    them."""
    found: dict[str, list[Any]] = {}
    for reply in app.control.broadcast(command, reply=True, timeout=_WITHIN, connection=connection) or []:
        for worker, answer in reply.items():
            if isinstance(answer, list):  # otherwise the worker says that the command failed
                found.setdefault(worker, []).extend(answer)
    return found


def _queue(app: Celery, target: Target) -> str | None:
    """Returns the queue to which Celery's routes send the task. Celery raises any error for a queue that is not
    defined; such an event becomes a dead letter that says so."""
    options = {"queue": target.options["queue"]} if "queue" in target.options else {}
    task = app.tasks.get(target.task)
    own = getattr(task, "queue", None)
    if own and not options:
        options = {"queue": own}
    with suppress(Exception):
        routed: Any = app.amqp.router.route(options, target.task)
        queue = routed.get("queue")
        return str(getattr(queue, "name", queue)) if queue else None
    return None
