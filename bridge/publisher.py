"""Publisher: the only module that knows Celery. Blocking; the relay calls it in a thread."""

import socket
import sys
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from pathlib import Path
from time import monotonic
from typing import Any

import amqp
import kombu
from celery import Celery
from celery.app.utils import find_app
from celery.exceptions import CeleryError
from kombu.exceptions import KombuError, OperationalError, SerializationError

from bridge.call import Call, Refusal
from bridge.errors import BrokerError, ConfigError

# A peer that swallows packets must not hold the bridge for ever; seconds. What the user's app says comes first.
_TRANSPORT_OPTIONS = {
    # Confirms are reads: all of a batch have to come within the read timeout.
    "amqp": {"write_timeout": 15, "read_timeout": 30},
    "redis": {"socket_timeout": 15, "socket_connect_timeout": 5},
}


class Publisher:
    """Publishes calls and waits until the broker has them all.

    With the user's Celery app its task options, routes, queues, serializer and signals apply; without one a bare app
    with Celery's defaults does.
    """

    def __init__(self, broker_url: str | None = None, app_path: str | None = None) -> None:
        self._app = _load(app_path) if app_path else Celery("bridge", set_as_current=False)
        if broker_url:
            self._app.conf.update(broker_url=broker_url, broker_write_url=broker_url)
        elif not app_path:
            raise ConfigError("no broker: give --broker-url (BRIDGE_BROKER_URL) or --app (BRIDGE_CELERY_APP)")
        self._connection: kombu.Connection | None = None
        self._producer: Any = None
        self._confirms: _Confirms | None = None
        self._confirm_deadline = 0.0
        # Targets whose queue this connection has declared; declaring again would cost as much as publishing.
        self._declared: set[str] = set()
        try:
            self.address: str = self._app.connection_for_write().as_uri()
        except ImportError as error:
            raise ConfigError(
                f"the broker's address can't be used: {error}; its client is missing, "
                "for Redis: pip install 'commit-bridge[redis]'"
            ) from error
        except (KeyError, ValueError) as error:
            raise ConfigError(f"the broker's address can't be used: {error}") from error

    def publish(self, calls: Sequence[Call]) -> list[Refusal]:
        """Publishes the calls in order and returns those that can't be published at all.

        BrokerError: it is not certain which of them the broker has; publish all of them again, their ids are the same.
        """
        try:
            with self._translated():
                self._connect()
                with self._batch():
                    refusals = [refusal for call in calls for refusal in self._send(call)]
                if self._confirms:
                    self._confirms.wait(self._confirm_deadline)
        except BrokerError:
            # Also where the connection seems alive: acks of this try must not count for the next one.
            self.close()
            raise
        return refusals

    def connect(self) -> None:
        """Connects and makes ready, so that the first `publish` need not; BrokerError when the broker is away."""
        try:
            with self._translated():
                self._connect()
        except BrokerError:
            # Or the next try would take a connection that never came to be for one that is ready.
            self.close()
            raise

    def close(self) -> None:
        """Drops the connection; the next `publish` makes a new one."""
        connection, self._connection, self._producer, self._confirms = self._connection, None, None, None
        if connection is not None:
            # The socket first: a polite close would wait for an answer from a broker that may be gone.
            with suppress(Exception):
                connection.collect(socket_timeout=1)

    def _connect(self) -> None:
        if self._connection is not None:
            return
        app = self._app
        app.finalize()
        transport = app.connection_for_write().transport
        options = {**_TRANSPORT_OPTIONS.get(transport.driver_type, {}), **app.conf.broker_transport_options}
        # `confirm_publish` waits for each message; here a whole batch is sent and then all its confirms are awaited.
        options.pop("confirm_publish", None)
        # No heartbeat: nobody could answer it while the bridge sleeps. TCP keepalive is on in py-amqp.
        self._connection = app.connection_for_write(heartbeat=0, transport_options=options)
        self._connection.connect()
        channel = self._connection.default_channel
        self._producer = app.amqp.Producer(channel, auto_declare=False)
        self._confirms = _Confirms(channel) if isinstance(channel, amqp.Channel) else None
        self._confirm_deadline = options.get("read_timeout", 30)
        self._declared.clear()

    def _batch(self) -> AbstractContextManager[object]:
        """From kombu 5.7 on, one round trip for many messages on Redis; nothing elsewhere."""
        return self._producer.batch(max_size=1000) if hasattr(self._producer, "batch") else nullcontext()

    def _send(self, call: Call) -> list[Refusal]:
        """What `app.send_task` does, without asking the result backend to watch for a result nobody here reads."""
        app = self._app
        task: Any = app.tasks.get(call.target.task)
        options = {**_task_options(task), **_watch_options(call.target.options)}
        if self._confirms:
            # Whoever finds no queue comes back instead of vanishing.
            options["mandatory"] = True
        ignore_result = options.pop("ignore_result", None)
        try:
            options = app.amqp.router.route(options, call.target.task, call.args, call.kwargs, task)
            destination = _destination(options)
            message = app.amqp.create_task_message(
                call.task_id,
                call.target.task,
                call.args,
                call.kwargs,
                countdown=options.pop("countdown", None),
                expires=options.pop("expires", None),
                time_limit=options.pop("time_limit", None),
                soft_time_limit=options.pop("soft_time_limit", None),
                reply_to=app.thread_oid,
                create_sent_event=app.conf.task_send_sent_event,
                ignore_result=ignore_result,
            )
            app.amqp.send_task_message(
                self._producer,
                call.target.task,
                message,
                headers=dict(call.headers),
                retry=False,
                **options,
                **({"declare": ()} if destination in self._declared else {}),
            )
        except (SerializationError, CeleryError, TypeError, ValueError, KeyError) as error:
            if isinstance(error, OperationalError):
                raise
            return call.refused(f"{type(error).__name__}: {error}")
        self._declared.add(destination)
        return []

    @contextmanager
    def _translated(self) -> Iterator[None]:
        """Errors of the transport leave this block as BrokerError."""
        try:
            yield
        except (KombuError, amqp.AMQPError, OSError) as error:
            raise BrokerError(_sentence(error)) from error
        except Exception as error:
            connection = self._connection or self._app.connection_for_write()
            if isinstance(error, connection.connection_errors + connection.channel_errors):
                raise BrokerError(_sentence(error)) from error
            raise


class _Confirms:
    """RabbitMQ's publisher confirms of one channel, collected for many messages at once.

    A confirm names the message by its number on the channel, or all up to that number ("multiple").
    Source: https://www.rabbitmq.com/docs/confirms#publisher-confirms
    """

    def __init__(self, channel: Any) -> None:
        self._channel = channel
        self._published = 0
        self._lowest = 1
        self._outstanding: set[int] = set()
        self._refused: str | None = None
        channel.events["basic_ack"].add(self._on_ack)
        channel.events["basic_nack"].add(self._on_nack)
        channel.events["basic_return"].add(self._on_return)
        channel.confirm_select()
        # Counted where the frame is sent: Celery may publish more than the task (its task-sent event), and every
        # message on the channel gets a number.
        self._publish = channel.basic_publish
        channel.basic_publish = self._counted_publish

    def wait(self, timeout: float) -> None:
        """Waits until every message so far is confirmed; BrokerError when one was refused, or after `timeout` s."""
        deadline = monotonic() + timeout
        while self._outstanding and self._refused is None:
            remaining = deadline - monotonic()
            if remaining <= 0:
                raise BrokerError(f"the broker did not confirm {len(self._outstanding)} messages within {timeout:g} s")
            with suppress(socket.timeout):
                self._channel.connection.drain_events(timeout=remaining)
        if self._refused is not None:
            raise BrokerError(self._refused)

    def _counted_publish(self, *args: Any, **kwargs: Any) -> Any:
        self._published += 1
        self._outstanding.add(self._published)
        return self._publish(*args, **kwargs)

    def _on_ack(self, tag: int, multiple: bool) -> None:
        if multiple:
            self._outstanding.difference_update(range(self._lowest, tag + 1))
            self._lowest = tag + 1
        else:
            self._outstanding.discard(tag)

    def _on_nack(self, tag: int, multiple: bool) -> None:
        self._refused = "the broker refused a message (a full queue that rejects, or an internal error)"

    def _on_return(self, error: Exception, exchange: str, routing_key: str, message: object) -> None:
        self._refused = f"no queue takes messages for exchange {exchange!r}, routing key {routing_key!r}"


def _load(app_path: str) -> Celery:
    # As with `celery -A`: the project is where the command is started, also for the task modules imported below.
    sys.path.insert(0, str(Path.cwd()))
    try:
        app = find_app(app_path)
    except (ImportError, AttributeError, ValueError) as error:
        raise ConfigError(
            f"--app {app_path}: {error}; it is given as module:attribute, such as shop.celery:app"
        ) from error
    if not isinstance(app, Celery):
        raise ConfigError(f"--app {app_path}: is {type(app).__name__}, not a Celery app")
    # The tasks' own options (queue, priority, ...) are known only after their modules are imported.
    app.loader.import_default_modules()
    return app


def _task_options(task: Any) -> dict[str, Any]:
    """The options set on the task itself, as `task.delay` would use them."""
    if task is None:
        return {}
    return {name: value for name, value in task._get_exec_options().items() if value is not None}


def _watch_options(options: dict[str, Any]) -> dict[str, Any]:
    return {name: options[name] for name in ("queue", "priority", "countdown", "expires") if name in options}


def _destination(options: dict[str, Any]) -> str:
    """Tells routes with different queues or exchanges apart."""
    queue = options.get("queue")
    return f"{getattr(queue, 'name', queue)}|{options.get('exchange')}|{options.get('routing_key')}"


def _sentence(error: Exception) -> str:
    text = str(error).strip()
    cause = str(error.__cause__ or "").strip()
    if cause and cause not in text:
        # kombu's batch says only that it failed; why is what a person needs.
        text = f"{text} ({cause})"
    return f"{type(error).__name__}: {text}" if text else type(error).__name__
