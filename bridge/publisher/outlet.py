"""Outlet: the producer that Celery gets. It is kombu's, but separates errors of the transport from all others."""

from collections.abc import Callable
from typing import Any

import kombu

from bridge.publisher.answer import is_of_transport
from bridge.publisher.route import Routes


class Outlet:
    """A producer that declares in our way, refuses messages that no queue takes, and records the transport's errors."""

    def __init__(
        self, producer: Any, connection: kombu.Connection, declare: Callable[[Any], None], routes: Routes
    ) -> None:
        self._producer = producer
        self._connection = connection
        self._declare = declare
        self._routes = routes
        self.failed = False
        """Whether the transport raised the last error, not a router, a signal, a serializer or the app's own code."""

    def __getattr__(self, name: str) -> Any:
        return getattr(self._producer, name)

    def publish(self, body: Any, **options: Any) -> Any:
        """See kombu.Producer.publish."""
        try:
            for entity in options.pop("declare", None) or ():
                self._declare(entity)
            self._routes.check(options.get("exchange"), options.get("routing_key") or "")
            return self._producer.publish(body, **options)
        except Exception as error:
            # Classified here, since Celery later turns a KeyError of kombu into the type of a lost connection.
            self.failed = is_of_transport(error, self._connection)
            raise
