"""Messages as bytes on the wire (AMQP 0-9-1, section 4.2): a method frame, a header frame, body frames.

Encoding is most of what publishing costs, so the few types that a `Message` has are packed here. A generic
encoder takes five times as long; the tests hold the two against each other.
"""

import struct
from collections.abc import Iterator, Mapping
from functools import lru_cache

import pamqp.frame
from pamqp.commands import Basic
from pamqp.constants import FRAME_BODY, FRAME_END_CHAR, FRAME_HEADER

from countermand.wire.message import Message

FRAME_OVERHEAD = 8  # Type, channel and size in front, the end octet behind.
SHORT_STRING_BYTES_MAX = 255
HEADER_NAME_BYTES_MAX = 128  # The protocol's field name (section 4.2.5.5).
METHODS_CACHED_MAX = 1024  # There are as many as participants, times a few.
HEADER_NAMES_CACHED_MAX = 1024  # The protocol has some thirty.

_FRAME_START = struct.Struct(">BHI")
_CONTENT = struct.Struct(">HHQH")  # Class, weight, body size, which properties follow.
_LONG = struct.Struct(">I")
_SIGNED_64 = struct.Struct(">q")

# The properties' bits, in the order in which the properties follow (section 4.2.6.1).
_FLAG_CONTENT_TYPE = Basic.Properties.flags["content_type"]
_FLAG_HEADERS = Basic.Properties.flags["headers"]
_FLAG_DELIVERY_MODE = Basic.Properties.flags["delivery_mode"]
_FLAG_CORRELATION_ID = Basic.Properties.flags["correlation_id"]
_FLAG_REPLY_TO = Basic.Properties.flags["reply_to"]
_FLAG_MESSAGE_ID = Basic.Properties.flags["message_id"]
_FLAG_TYPE = Basic.Properties.flags["message_type"]
_FLAG_APP_ID = Basic.Properties.flags["app_id"]


class Unencodable(Exception):
    """A message that the protocol can't carry, whoever sends it."""


def encode(message: Message, message_id: str, *, channel_number: int, frame_max: int) -> bytes:
    """All frames of one publish. Raises Unencodable."""
    try:
        method = _method_frame(message.exchange, message.routing_key, message.mandatory, channel_number)
        content = _content(message, message_id)
    except UnicodeEncodeError as error:
        raise Unencodable(f"a text holds a character that UTF-8 has no bytes for: {error.reason}") from None
    if len(content) + FRAME_OVERHEAD > frame_max:
        # The protocol has no way to split a header; the broker would close the connection on everybody.
        raise Unencodable(f"the headers take {len(content)} bytes, the broker allows {frame_max}")
    start = _FRAME_START.pack(FRAME_HEADER, channel_number, len(content))
    frames = [method, start, content, FRAME_END_CHAR]
    frames.extend(_body_frames(message.body, channel_number, frame_max))
    return b"".join(frames)


def properties_of(message: Message, message_id: str) -> Basic.Properties:
    """The same properties for the library's own encoder."""
    return Basic.Properties(
        content_type=message.content_type,
        headers=dict(message.headers),
        delivery_mode=2 if message.persistent else 1,
        correlation_id=message.correlation_id,
        reply_to=message.reply_to,
        message_id=message_id,
        message_type=message.type,
        app_id=message.app_id,
    )


@lru_cache(METHODS_CACHED_MAX)
def _method_frame(exchange: str, routing_key: str, mandatory: bool, channel_number: int) -> bytes:
    if len(routing_key.encode()) > SHORT_STRING_BYTES_MAX:
        raise Unencodable("the routing key is longer than 255 bytes")
    try:
        publish = Basic.Publish(exchange=exchange, routing_key=routing_key, mandatory=mandatory)
        return pamqp.frame.marshal(publish, channel_number)
    except ValueError as error:
        raise Unencodable(str(error)) from error


def _content(message: Message, message_id: str) -> bytes:
    flags = _FLAG_DELIVERY_MODE | _FLAG_MESSAGE_ID
    parts = [b""]
    if message.content_type:
        flags |= _FLAG_CONTENT_TYPE
        parts.append(_short("content_type", message.content_type))
    if message.headers:
        flags |= _FLAG_HEADERS
        parts.append(_table(message.headers))
    parts.append(b"\x02" if message.persistent else b"\x01")
    if message.correlation_id:
        flags |= _FLAG_CORRELATION_ID
        parts.append(_short("correlation_id", message.correlation_id))
    if message.reply_to:
        flags |= _FLAG_REPLY_TO
        parts.append(_short("reply_to", message.reply_to))
    parts.append(_short("message_id", message_id))
    if message.type:
        flags |= _FLAG_TYPE
        parts.append(_short("type", message.type))
    if message.app_id:
        flags |= _FLAG_APP_ID
        parts.append(_short("app_id", message.app_id))
    parts[0] = _CONTENT.pack(Basic.frame_id, 0, len(message.body), flags)
    return b"".join(parts)


def _short(field: str, value: str) -> bytes:
    encoded = value.encode()
    if len(encoded) > SHORT_STRING_BYTES_MAX:
        raise Unencodable(f"{field} is longer than 255 bytes")
    return bytes((len(encoded),)) + encoded


def _table(headers: Mapping[str, str | int]) -> bytes:
    parts = [b""]
    for name, value in headers.items():
        if isinstance(value, str):
            text = value.encode()
            parts += (_header_name(name), b"S", _LONG.pack(len(text)), text)
        elif isinstance(value, int) and not isinstance(value, bool):
            try:
                number = _SIGNED_64.pack(value)
            except struct.error:
                raise Unencodable(f"the header {name!r} is no 64-bit integer") from None
            parts += (_header_name(name), b"l", number)
        else:
            raise Unencodable(f"the header {name!r} is a {type(value).__name__}; expected str or int")
    parts[0] = _LONG.pack(sum(map(len, parts)))
    return b"".join(parts)


@lru_cache(HEADER_NAMES_CACHED_MAX)
def _header_name(name: str) -> bytes:
    key = name.encode()
    if len(key) > HEADER_NAME_BYTES_MAX:
        raise Unencodable(f"the name of the header {name[:32]!r}… is longer than 128 bytes")
    return bytes((len(key),)) + key


def _body_frames(body: bytes, channel_number: int, frame_max: int) -> Iterator[bytes]:
    size = frame_max - FRAME_OVERHEAD
    for start in range(0, len(body), size):
        piece = body[start : start + size]
        yield _FRAME_START.pack(FRAME_BODY, channel_number, len(piece))
        yield piece
        yield FRAME_END_CHAR
