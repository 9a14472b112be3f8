"""Reads what the tests of sending have written into the log, as the bridge does."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any

import kombu
from django.db import transaction

from bridge.call import Call, Refusal, Targets, call_for
from bridge.event import Event
from bridge.publisher import Publisher
from tests.django.sending_app import NAMES
from tests.fix_postgres import Database


@contextmanager
def rolled_back() -> Iterator[None]:
    """Opens a transaction or a savepoint that is rolled back."""
    with suppress(ZeroDivisionError), transaction.atomic():
        yield
        raise ZeroDivisionError


ALLOWED = Targets(sendable=frozenset(NAMES))


def events(database: Database) -> list[Event]:
    """Returns the events of the log, in order."""
    query = "select id, watch, op, null, data, context, at from bridge.event where op = 'send' order by id"
    with database.connect() as connection:
        return [Event(*row) for row in connection.execute(query)]


def refusals(database: Database) -> list[str]:
    found = [call_for(event, ALLOWED) for event in events(database)]
    return [one.reason for one in found if isinstance(one, Refusal)]


def calls(database: Database) -> list[Call]:
    """Returns what the bridge would publish. It must refuse nothing."""
    made = [call_for(event, ALLOWED) for event in events(database)]
    assert not [one for one in made if isinstance(one, Refusal)]
    return [one for one in made if isinstance(one, Call)]


def allow(database: Database, names: Sequence[str] = NAMES) -> None:
    with database.connect() as connection:
        for name in names:
            connection.execute("select bridge.allow(%s)", [name])


def publish(app: Any, found: Sequence[Event]) -> None:
    """Publishes events as `bridge run --app` does."""
    publisher = Publisher("memory://")
    publisher._app = app
    receipt = publisher.publish(found, ALLOWED)
    publisher.close()
    assert receipt.outage is None
    assert receipt.refused == {}


def arrived(app: Any, queue: str = "sending") -> list[dict[str, Any]]:
    """Takes all messages of a queue that is in the memory of this process."""
    taken: list[dict[str, Any]] = []
    with app.connection_for_read() as connection:
        channel: Any = connection.default_channel
        bound = kombu.Queue(queue)(channel)
        while (message := bound.get(no_ack=True)) is not None:
            properties = {name: value for name, value in message.properties.items() if name != "delivery_tag"}
            taken.append({"headers": message.headers, "properties": properties, "body": message.payload})
    return taken
