"""Messages: events to publish, and what arrives of them, in fields that can be compared."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import yaml

from bridge.call import Call, Target, Targets, call_for
from bridge.event import Event
from bridge.publisher import Publisher
from tests.fix_broker import Broker

AT = datetime(2026, 11, 24, 12, tzinfo=UTC)


# Properties that are new in each message, whatever sends it.
FRESH = ("delivery_tag",)


KEYS: tuple[list[Any], ...] = (
    [42],
    ['it\'s "é"\n'],
    [1, None, True, 2.5, "x"],
    [{"a": [1]}],
    [2**70],
    ["y" * 2000],
    [],
)


def targets(**options: Any) -> Targets:
    return Targets({"w": Target("shop.tasks.reprice", options)})


def event(key: list[Any], number: int, context: str | None = None) -> Event:
    return Event(number, "w", "update", key, {"new": {"note": "ü" * 100}, "changed": ["note"]}, context, AT)


def events(context: str | None = None) -> list[Event]:
    return [event(key, number, context) for number, key in enumerate(KEYS, 2**40)]


def calls(asked: Sequence[Event], targets: Targets) -> list[Call]:
    made = [call_for(event, targets) for event in asked]
    return [call for call in made if isinstance(call, Call)]


def take_all(broker: Broker, queue: str, count: int) -> list[dict[str, Any]]:
    """Takes the messages from the queue, in order, and returns their fields. The queue is empty again."""
    taken: list[dict[str, Any]] = []
    with broker.connect() as connection:
        channel: Any = connection.default_channel
        while (raw := channel.basic_get(queue, no_ack=True)) is not None:
            taken.append(parts(raw if hasattr(raw, "decode") else channel.message_to_python(raw)))
    assert len(taken) == count
    return taken


def parts(message: Any) -> dict[str, Any]:
    properties = {name: value for name, value in message.properties.items() if name not in FRESH}
    properties.pop("application_headers", None)
    delivery = properties.pop("delivery_info", None) or message.delivery_info
    return {
        "headers": near(message.headers),
        "properties": properties,
        "delivery": {name: delivery[name] for name in ("exchange", "routing_key")},
        "type": (message.content_type, message.content_encoding),
        # YAML has tuples, JSON does not. The test compares what a worker gets, not the bytes.
        "body": yaml.safe_load(message.body) if "yaml" in message.content_type else message.decode(),
    }


class Moment(float):
    """Seconds. Two moments are equal if less than a minute lies between them."""

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Moment) and abs(self - other) < 60

    __hash__ = None  # type: ignore[assignment]  # an object that is equal to two others can't have the hashes of both


def near(headers: dict[str, Any]) -> dict[str, Any]:
    """Returns the headers as a worker reads them. Times that Celery computes while publishing are moments."""
    timed = {name: headers[name] for name in ("eta", "expires") if headers.get(name)}
    return headers | {name: Moment(datetime.fromisoformat(at).timestamp()) for name, at in timed.items()}


def send_as_celery(publisher: Publisher, sent: list[Call]) -> None:
    app = publisher._app
    for call in sent:
        names = ("queue", "priority", "countdown", "expires")
        options = {name: call.target.options[name] for name in names if name in call.target.options}
        app.send_task(
            call.target.task, call.args, call.kwargs, task_id=call.task_id, headers=dict(call.headers), **options
        )
    app.close()
