"""Redis: filled messages as the JSON text that kombu would push, many in one LPUSH."""

import json
from base64 import b64encode
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import groupby
from typing import Any

import msgspec

from bridge.publisher.carrier import QuickCarrier, UnsuitableError
from bridge.publisher.message import TASK_ID, Filled, Message

_encode = msgspec.json.Encoder().encode
_BODY = b"bridge-body-b3c1d9f0"
# Where the values of a call go, as they stand in JSON text. Nobody's header has them.
_HOLE = "bridge-hole-b3c1d9f0-"


def is_redis(channel: Any) -> bool:
    """Whether it is kombu's channel to Redis, or one that puts messages the same way (Sentinel)."""
    ways = (getattr(type(channel), name, None) for name in ("_put", "conn_or_acquire"))
    return all(getattr(way, "__module__", None) == "kombu.transport.redis" for way in ways)


class RedisCarrier(QuickCarrier["_Envelope"]):
    """Pushes to the lists that are kombu's queues. kombu is asked once a target how it would do it."""

    portion = 500

    def __init__(self, channel: Any) -> None:
        super().__init__(lambda message: _Envelope(channel, message))
        self._channel = channel

    def prepare(self, message: Message, filled: Filled) -> tuple[str, bytes]:
        """See Carrier: the list's key and the text."""
        envelope = self.form(message)
        return envelope.key, envelope.fill(filled, self._channel._next_delivery_tag())

    def carry(self, load: Sequence[tuple[str, bytes]]) -> None:
        """See Carrier."""
        with self._channel.conn_or_acquire() as client, client.pipeline(transaction=False) as pipeline:
            for key, group in groupby(load, key=lambda pair: pair[0]):
                pipeline.lpush(key, *[text for _, text in group])
            pipeline.execute()


class _Recorder:
    """In the place of a connection to Redis: notes what would be pushed, and knows nothing else."""

    def __init__(self) -> None:
        self.pushed: list[tuple[str, str]] = []

    def lpush(self, key: str, text: str) -> None:
        self.pushed.append((key, text))

    @contextmanager
    def acquire(self, client: object = None) -> Iterator["_Recorder"]:
        yield self


class _Envelope:
    """The text around a message, with holes for what differs from call to call."""

    def __init__(self, channel: Any, message: Message) -> None:
        properties = {**message.properties, "delivery_mode": message.delivery_mode, "correlation_id": TASK_ID}
        prepared = channel.prepare_message(
            _BODY, message.priority, message.content_type, message.content_encoding, dict(message.headers), properties
        )
        recorder = _Recorder()
        channel.conn_or_acquire = recorder.acquire
        try:
            channel.basic_publish(prepared, exchange=message.exchange, routing_key=message.routing_key)
        except AttributeError as error:
            # More than a push: a queue that expires, a fanout.
            raise UnsuitableError from error
        finally:
            del channel.conn_or_acquire
        match recorder.pushed:
            case [(str(key), str(text))]:
                self.key = key
            case _:
                raise UnsuitableError
        envelope = json.loads(text)
        sent = envelope["properties"]
        if envelope["body"] != b64encode(_BODY).decode() or sent.get("correlation_id") != TASK_ID:
            raise UnsuitableError
        envelope["body"] = _HOLE + "body"
        sent["correlation_id"] = _HOLE + "id"
        sent["delivery_tag"] = _HOLE + "tag"
        for name in ("id", "root_id"):
            envelope["headers"][name] = _HOLE + "id"
        for name in ("argsrepr", "kwargsrepr", "bridge"):
            envelope["headers"][name] = _HOLE + name
        self._literals, self._holes = _split(_encode(envelope))

    def fill(self, filled: Filled, tag: str) -> bytes:
        """The text of one message."""
        headers = filled.headers
        values = {
            "id": b'"%s"' % filled.task_id.encode(),
            "tag": b'"%s"' % tag.encode(),
            "body": b'"%s"' % b64encode(filled.body),
            "argsrepr": _encode(headers["argsrepr"]),
            "kwargsrepr": _encode(headers["kwargsrepr"]),
            "bridge": _encode(headers["bridge"]),
        }
        parts = [self._literals[0]]
        for hole, literal in zip(self._holes, self._literals[1:], strict=True):
            parts.append(values[hole])
            parts.append(literal)
        return b"".join(parts)


def _split(text: bytes) -> tuple[list[bytes], list[str]]:
    first, *rest = text.split(b'"' + _HOLE.encode())
    literals, holes = [first], []
    for piece in rest:
        name, _, literal = piece.partition(b'"')
        holes.append(name.decode())
        literals.append(literal)
    return literals, holes
