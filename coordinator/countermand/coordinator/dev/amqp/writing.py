"""Frames on their way out.

pamqp's classes say which fields a method has; its encoder isn't used, because it refuses names that RabbitMQ takes, and
a client that declares a queue with a blank in its name should get it. Deliveries are packed by hand, because they are
most of the work.
"""

import struct
from functools import lru_cache
from typing import NamedTuple

from pamqp import commands, encode
from pamqp.base import Frame
from pamqp.constants import FRAME_BODY, FRAME_END, FRAME_END_CHAR, FRAME_HEADER, FRAME_METHOD

from countermand.coordinator.dev.amqp.content import Message

FRAME_OVERHEAD = 8  # Type, channel, size and end.
NAMES_CACHED_MAX = 1_024  # Exchanges, keys and consumer tags repeat; 600 KB at most.
TEXT_BYTES_MAX = 255

FRAME_START = struct.Struct(">BHI")  # Type, channel, size.
_INDEX = struct.Struct(">I")
_TAG = struct.Struct(">QB")
_SETTLED = struct.Struct(">BHIIQBB")
_SETTLED_PAYLOAD_BYTES = 13


class Said(NamedTuple):
    """A method of ours, with its fields in the protocol's order."""

    kind: type[Frame]
    fields: tuple[object, ...]


def say(kind: type[Frame], *fields: object) -> Said:
    return Said(kind, fields)


def close_method(kind: type[Frame], code: int, text: str, index: int) -> Said:
    """connection.close or channel.close, because of the method with this index."""
    return say(kind, code, short_text(text), index >> 16, index & 0xFFFF)


def method_frame(said: Said, channel: int) -> bytes:
    payload = method_payload(said)
    return FRAME_START.pack(FRAME_METHOD, channel, len(payload)) + payload + FRAME_END_CHAR


def method_payload(said: Said) -> bytes:
    kind, fields = said
    parts = [_INDEX.pack(kind.index)]
    for name, value in zip(kind.__slots__, fields, strict=True):
        match kind.amqp_type(name):
            case "bit":  # No method of ours has two bits side by side, which would share an octet.
                parts.append(b"\x01" if value else b"\x00")
            case "shortstr":
                parts.append(_short(str(value)))
            case type_:
                parts.append(encode.by_type(value, type_))  # type: ignore[arg-type]  # As the protocol says.
    return b"".join(parts)


def short_text(text: str) -> str:
    """As much of it as a short string carries."""
    return text.encode()[:TEXT_BYTES_MAX].decode(errors="ignore")


@lru_cache(NAMES_CACHED_MAX)
def _short(text: str) -> bytes:
    raw = text.encode()
    return bytes((len(raw),)) + raw


def deliver(consumer_tag: str, tag: int, redelivered: bool, message: Message) -> bytes:
    """The payload of basic.deliver."""
    return (
        _INDEX.pack(commands.Basic.Deliver.index)
        + _short(consumer_tag)
        + _TAG.pack(tag, redelivered)
        + _short(message.exchange)
        + _short(message.routing_key)
    )


def content_frames(method: bytes, header: bytes, body: bytes, channel: int, frame_max: int) -> bytes:
    """A method that carries content, with all of its frames."""
    parts = [
        FRAME_START.pack(FRAME_METHOD, channel, len(method)),
        method,
        FRAME_END_CHAR,
        FRAME_START.pack(FRAME_HEADER, channel, len(header)),
        header,
        FRAME_END_CHAR,
    ]
    size = frame_max - FRAME_OVERHEAD
    for start in range(0, len(body), size):
        piece = body[start : start + size]
        parts += (FRAME_START.pack(FRAME_BODY, channel, len(piece)), piece, FRAME_END_CHAR)
    return b"".join(parts)


def confirm_frame(tag: int, channel: int, *, positive: bool, multiple: bool) -> bytes:
    """basic.ack or basic.nack from the broker."""
    index = commands.Basic.Ack.index if positive else commands.Basic.Nack.index
    return _SETTLED.pack(FRAME_METHOD, channel, _SETTLED_PAYLOAD_BYTES, index, tag, multiple, FRAME_END)
