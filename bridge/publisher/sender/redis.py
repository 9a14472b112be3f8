"""Redis: pushes messages as the JSON text that kombu would push, many with one LPUSH."""

import json
from base64 import b64encode
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from itertools import count, groupby
from operator import itemgetter
from typing import Any

import msgspec
from kombu import Connection

from bridge.call import Call
from bridge.errors import BrokerError
from bridge.publisher.answer import translated
from bridge.publisher.receipt import Receipt
from bridge.publisher.sender.base import QuickSender, UnsuitableError
from bridge.publisher.template import TASK_ID, TRACE, Template

_encode = msgspec.json.Encoder().encode
_BODY = b"bridge-body-b3c1d9f0"
# Marks the places in the JSON text that the values of a call are put in.
_HOLE = "bridge-hole-b3c1d9f0-"
# The default of Redis's setting proto-max-bulk-len.
_LARGEST_VALUE = 512 * 1024 * 1024


def is_redis(channel: Any) -> bool:
    """Whether this is kombu's channel to Redis, or a channel that pushes messages in the same way (Sentinel)."""
    ways = (getattr(type(channel), name, None) for name in ("_put", "conn_or_acquire"))
    return all(getattr(way, "__module__", None) == "kombu.transport.redis" for way in ways)


class RedisSender(QuickSender):
    """Pushes to the Redis lists that are kombu's queues, with the text that kombu makes once for each target."""

    batch_size = 500

    def __init__(self, channel: Any, connection: Connection) -> None:
        tags, largest = _tags(channel), _largest_value(channel)
        super().__init__(lambda template: _Envelope(channel, template, tags, largest))
        self._channel = channel
        self._connection = connection

    def send(self, messages: Sequence[tuple[int, tuple[str, bytes]]], receipt: Receipt) -> None:
        """See Sender. An error of Redis about one key does not affect the messages for other keys."""
        pushed: list[tuple[int, ...]] = []
        with self._channel.conn_or_acquire() as client, client.pipeline(transaction=False) as pipeline:
            for key, group in groupby(messages, key=lambda placed: placed[1][0]):
                places, texts = zip(*group, strict=True)
                pipeline.lpush(key, *[text for _, text in texts])
                pushed.append(places)
            answers = pipeline.execute(raise_on_error=False)
        outage: BrokerError | None = None
        for places, answer in zip(pushed, answers, strict=True):
            error = translated(answer, self._connection) if isinstance(answer, Exception) else None
            if error is None:
                receipt.arrived.update(places)
            elif isinstance(error, BrokerError):
                outage = outage or error
            else:
                receipt.refused.update(dict.fromkeys(places, str(error)))
        if outage is not None:
            raise outage


class _Recorder:
    """Takes the place of a connection to Redis: records what would be pushed, and supports no other command."""

    def __init__(self) -> None:
        self.pushed: list[tuple[str, str]] = []

    def lpush(self, key: str, text: str) -> None:
        self.pushed.append((key, text))

    @contextmanager
    def acquire(self, client: object = None) -> Iterator["_Recorder"]:
        yield self


class _Envelope:
    """The text of one target's messages, with holes for the values that differ from call to call."""

    def __init__(self, channel: Any, template: Template, tags: Iterator[bytes], largest: int) -> None:
        self._template = template
        self._tags = tags
        self._largest = largest
        properties = {**template.properties, "delivery_mode": template.delivery_mode, "correlation_id": TASK_ID}
        prepared = channel.prepare_message(
            _BODY,
            template.priority,
            template.content_type,
            template.content_encoding,
            dict(template.headers),
            properties,
        )
        recorder = _Recorder()
        channel.conn_or_acquire = recorder.acquire
        try:
            channel.basic_publish(prepared, exchange=template.exchange, routing_key=template.routing_key)
        except AttributeError as error:
            # kombu needs more than a push here, for example for a queue that expires or for a fanout.
            raise UnsuitableError from error
        finally:
            del channel.conn_or_acquire
        match recorder.pushed:
            case [(str(key), str(text))]:
                self._key = key
            case _:
                raise UnsuitableError
        if _HOLE in text:
            # A header or a queue of the user has the name that marks our holes.
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
        self._text, holes = _split(_encode(envelope))
        self._in_order = itemgetter(*holes)

    def encode(self, call: Call) -> tuple[str, bytes]:
        """See Encoder. Returns the key of the list, and the text."""
        task_id, headers, body = self._template.render(call)
        values = {
            "id": b'"%b"' % task_id.encode(),
            "tag": b'"%b"' % next(self._tags),
            "body": b'"%b"' % b64encode(body),
            "argsrepr": _encode(headers["argsrepr"]),
            "kwargsrepr": _encode(headers["kwargsrepr"]),
            "bridge": _encode(headers["bridge"]),
        }
        for name in TRACE:
            if name in headers:
                # The next member of the same object.
                values["bridge"] += b',"%b":%b' % (name.encode(), _encode(headers[name]))
        text = self._text % self._in_order(values)
        if len(text) > self._largest:
            # Redis would close the connection in the middle of it, which looks like a broker that goes away.
            raise ValueError(f"the message has {len(text):,} bytes, but Redis accepts at most {self._largest:,}")
        return self._key, text


def _tags(channel: Any) -> Iterator[bytes]:
    """Yields delivery tags. kombu makes a UUID for each, which takes 3 us; we count up from one of its UUIDs."""
    first = channel._next_delivery_tag()
    return (b"%b%012x" % (first[:-12].encode(), number) for number in count(int(first[-12:], 16)))


def _largest_value(channel: Any) -> int:
    """Returns the server's setting proto-max-bulk-len, or its default if the server does not answer CONFIG GET."""
    with suppress(Exception), channel.conn_or_acquire() as client:
        return int(client.config_get("proto-max-bulk-len")["proto-max-bulk-len"])
    return _LARGEST_VALUE


def _split(text: bytes) -> tuple[bytes, list[str]]:
    """Returns a text for the operator %, and the names of the values that go into it."""
    first, *rest = text.replace(b"%", b"%%").split(b'"' + _HOLE.encode())
    parts, holes = [first], []
    for piece in rest:
        name, _, literal = piece.partition(b'"')
        holes.append(name.decode())
        parts.append(literal)
    return b"%b".join(parts), holes
