"""Messages: a checked header, kept as it was sent, and a body.

Properties travel through the broker untouched, so what one client writes is what another reads, byte for byte. Only
dead-lettering and redelivery change them, and they cut and join bytes.
"""

import struct
from typing import NamedTuple

from countermand.coordinator.dev.amqp.faults import Code, ConnectionFault, precondition_failed, syntax_error
from countermand.coordinator.dev.amqp.limits import HEADER_DEPTH_MAX, MESSAGE_OVERHEAD_BYTES
from countermand.coordinator.dev.amqp.tables import Entries, check_table, join_entries, split_entries

BASIC_CLASS = 60
_HEAD = struct.Struct(">HHQ")  # Class, weight, body size.
_FLAGS = struct.Struct(">H")
_LONG = struct.Struct(">I")

HEADERS, DELIVERY_MODE, EXPIRATION, USER_ID = 13, 12, 8, 4
# AMQP 0-9-1, section 4.2.6.1: the properties in their order, from the highest bit on. The rest are short strings.
_TABLES = {HEADERS}
_FIXED_SIZES = {DELIVERY_MODE: 1, 11: 1, 6: 8}  # delivery_mode, priority, timestamp
_BITS = range(15, 1, -1)
_PERSISTENT = 2
EXPIRATION_MS_MAX = 10 * 365 * 24 * 3_600 * 1_000  # Ten years: whoever asks for more has a bug.


class Message:
    """What was published, shared by all queues that hold it."""

    __slots__ = ("body", "exchange", "expiration_ms", "persistent", "properties", "routing_key", "size")

    def __init__(
        self,
        exchange: str,
        routing_key: str,
        properties: bytes,
        body: bytes,
        *,
        persistent: bool,
        expiration_ms: int | None,
    ) -> None:
        self.exchange = exchange
        self.routing_key = routing_key
        self.properties = properties
        self.body = body
        self.persistent = persistent
        self.expiration_ms = expiration_ms
        self.size = len(properties) + len(body) + MESSAGE_OVERHEAD_BYTES

    def __repr__(self) -> str:
        # The body stays out: what is printed ends up in logs.
        return f"<Message to {self.exchange!r} {self.routing_key!r}, {self.size} bytes>"

    def header(self) -> bytes:
        """The payload of its header frame."""
        return _HEAD.pack(BASIC_CLASS, 0, len(self.body)) + self.properties


class Header(NamedTuple):
    """What a content header says that concerns the broker."""

    body_size: int
    properties: bytes
    persistent: bool
    expiration_ms: int | None
    user_id: str | None


def read_header(payload: bytes) -> Header:
    """A content header, checked. Raises 502 for garbage, 406 for an expiration that is no number."""
    try:
        kind, _, body_size = _HEAD.unpack_from(payload)
        spans = _spans(payload, _HEAD.size)
    except (IndexError, struct.error):
        raise syntax_error("a content header is cut short") from None
    if kind != BASIC_CLASS:
        raise ConnectionFault(Code.UNEXPECTED_FRAME, f"a content header of class {kind}; expected {BASIC_CLASS}")
    if HEADERS in spans:
        start, end = spans[HEADERS]
        check_table(payload, start + 4, end, depth_max=HEADER_DEPTH_MAX)
    mode = payload[spans[DELIVERY_MODE][0]] if DELIVERY_MODE in spans else 1
    user_id = _short(payload, spans.get(USER_ID))
    expiration = _short(payload, spans.get(EXPIRATION))
    return Header(
        body_size=body_size,
        properties=payload[_HEAD.size :],
        persistent=mode == _PERSISTENT,
        expiration_ms=None if expiration is None else _milliseconds(expiration),
        user_id=user_id,
    )


def _spans(data: bytes, position: int) -> dict[int, tuple[int, int]]:
    """Where each property that is present stands, by its bit."""
    flags = _FLAGS.unpack_from(data, position)[0]
    if flags & 0b11:
        raise syntax_error("a content header announces properties that AMQP 0-9-1 doesn't have")
    position += 2
    spans: dict[int, tuple[int, int]] = {}
    for bit in _BITS:
        if not flags & (1 << bit):
            continue
        if bit in _TABLES:
            end = position + 4 + _LONG.unpack_from(data, position)[0]
        else:
            end = position + (_FIXED_SIZES.get(bit) or 1 + data[position])
        if end > len(data):
            raise syntax_error("a content header ends within a property")
        spans[bit] = (position, end)
        position = end
    if position != len(data):
        raise syntax_error("a content header has bytes after its last property")
    return spans


def _short(data: bytes, span: tuple[int, int] | None) -> str | None:
    return None if span is None else data[span[0] + 1 : span[1]].decode(errors="replace")


def _milliseconds(text: str) -> int:
    if text.isascii() and text.isdigit() and len(text) < 16 and int(text) <= EXPIRATION_MS_MAX:
        return int(text)
    raise precondition_failed(f"invalid expiration '{text[:32]}'; expected milliseconds as digits")


class Properties:
    """The properties of a message taken apart, to change its headers."""

    def __init__(self, properties: bytes) -> None:
        self._raw = {bit: properties[start:end] for bit, (start, end) in _spans(properties, 0).items()}
        table = self._raw.pop(HEADERS, b"\0\0\0\0")
        self.headers: Entries = split_entries(table[4:])

    def header(self, name: bytes) -> bytes | None:
        """A header's value with its type, as it was sent."""
        return next((value for key, value in self.headers if key == name), None)

    def set(self, name: bytes, value: bytes, *, first: bool = False) -> None:
        self.headers = [(key, old) for key, old in self.headers if key != name]
        self.headers.insert(0 if first else len(self.headers), (name, value))

    def take_expiration(self) -> str | None:
        """The expiration, which the message no longer has."""
        raw = self._raw.pop(EXPIRATION, None)
        return None if raw is None else raw[1:].decode(errors="replace")

    def joined(self) -> bytes:
        """The properties as bytes again."""
        if self.headers:
            table = join_entries(self.headers)
            self._raw[HEADERS] = _LONG.pack(len(table)) + table
        flags = sum(1 << bit for bit in self._raw)
        return _FLAGS.pack(flags) + b"".join(self._raw[bit] for bit in sorted(self._raw, reverse=True))
