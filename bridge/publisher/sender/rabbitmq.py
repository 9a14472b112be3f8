"""RabbitMQ: writes messages as AMQP 0-9-1 frames, many in one write.

py-amqp spends most of a publish on the table of headers. Nearly all its entries are the same for all messages of a
target, so these are serialized once. Each message is three frames: method, header, body.
Source: the AMQP 0-9-1 specification, sections 2.3.5 (frames), 4.2.5 (fields) and 4.2.6 (content), as RabbitMQ
implements it: https://www.rabbitmq.com/amqp-0-9-1-errata
"""

from collections.abc import Sequence
from struct import pack
from typing import Any

from amqp.serialization import dumps

from bridge.call import Call
from bridge.publisher.confirms import Confirms
from bridge.publisher.receipt import Receipt
from bridge.publisher.sender.base import QuickSender, UnsuitableError
from bridge.publisher.template import TASK_ID, TRACE, Template

_BASIC, _PUBLISH = 60, 40
_METHOD, _HEADER, _BODY = 1, 2, 3
_END = b"\xce"
_FRAME_OVERHEAD = 8


class RabbitSender(QuickSender):
    """Writes frames to one channel, and announces each message to Confirms."""

    batch_size = 100
    """Small enough that RabbitMQ works on the first messages of a batch while the next ones are made."""

    def __init__(self, channel: Any, confirms: Confirms) -> None:
        super().__init__(lambda template: _Frames(channel, template))
        self._channel = channel
        self._confirms = confirms

    def send(self, messages: Sequence[tuple[int, tuple[str, bytes]]], receipt: Receipt) -> None:
        """See Sender. Returns before the broker has confirmed the messages."""
        for place, (task_id, _) in messages:
            self._confirms.expect(place, task_id)
        self._channel.connection.transport.write(b"".join([frames for _, (_, frames) in messages]))


class _Frames:
    """Makes the frames of one target's messages, from parts that all of them share."""

    def __init__(self, channel: Any, template: Template) -> None:
        self._template = template
        number, self._largest = channel.channel_id, channel.connection.frame_max - _FRAME_OVERHEAD
        self._number = number
        # True is `mandatory`: RabbitMQ returns a message that no queue takes, instead of dropping it.
        publish = dumps("Bssbb", (0, template.exchange, template.routing_key, True, False))
        self._method = _frame(_METHOD, number, pack(">HH", _BASIC, _PUBLISH) + publish)
        properties = {**template.properties, "delivery_mode": template.delivery_mode, "correlation_id": TASK_ID}
        prepared = channel.prepare_message(
            b"", template.priority, template.content_type, template.content_encoding, template.headers, properties
        )
        # The table of headers stands in the middle of the properties, and the task's id after it.
        table = dumps("F", (template.headers,))
        before, found, after = prepared._serialize_properties().partition(table)
        between, found_id, after = after.partition(TASK_ID.encode())
        if not found or not found_id or table in after:
            raise UnsuitableError
        self._before, self._between, self._after = before, between, after
        self._entries = table[4:]

    def encode(self, call: Call) -> tuple[str, bytes]:
        """See Encoder. Returns the task's id and three frames, or more if the body is long."""
        task_id, headers, body = self._template.render(call)
        encoded = task_id.encode()
        entries = (
            self._entries
            + b"\x02id" + _text(encoded)
            + b"\x07root_id" + _text(encoded)
            + b"\x08argsrepr" + _text(headers["argsrepr"].encode())
            + b"\x0akwargsrepr" + _text(headers["kwargsrepr"].encode())
            + b"\x06bridge" + _header(headers["bridge"])
        )  # fmt: skip
        for name in TRACE:
            if name in headers:
                entries += bytes([len(name)]) + name.encode() + _text(headers[name].encode())
        properties = self._before + pack(">I", len(entries)) + entries + self._between + encoded + self._after
        header = _frame(_HEADER, self._number, pack(">HHQ", _BASIC, 0, len(body)) + properties)
        if len(header) - _FRAME_OVERHEAD > self._largest:
            raise ValueError(f"the headers take {len(header):,} bytes, but a frame holds at most {self._largest:,}")
        if len(body) <= self._largest:
            return task_id, self._method + header + (_frame(_BODY, self._number, body) if body else b"")
        pieces = (body[at : at + self._largest] for at in range(0, len(body), self._largest))
        return task_id, self._method + header + b"".join(_frame(_BODY, self._number, piece) for piece in pieces)


def _frame(kind: int, channel: int, payload: bytes) -> bytes:
    return pack(">BHI", kind, channel, len(payload)) + payload + _END


def _text(value: bytes) -> bytes:
    """Returns a long string as the value of a field."""
    return b"S" + pack(">I", len(value)) + value


def _header(header: dict[str, Any]) -> bytes:
    """Returns the header `bridge`, which is a table inside the table of headers."""
    if header["context"] is not None or len(header) > 5:
        return b"F" + dumps("F", (header,))
    entries = (
        b"\x02idl" + pack(">q", header["id"])
        + b"\x05watch" + _text(header["watch"].encode())
        + b"\x09operation" + _text(header["operation"].encode())
        + b"\x02at" + _text(header["at"].encode())
        + b"\x07contextV"
    )  # fmt: skip
    return b"F" + pack(">I", len(entries)) + entries
