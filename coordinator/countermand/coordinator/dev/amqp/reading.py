"""Methods, from bytes to pamqp's classes.

pamqp's classes say which fields a method has and of what type; its decoder isn't used. On hostile bytes it cuts strings
short without a word, and raises what it happens to run into: RecursionError, IndexError, OverflowError.
"""

import struct
from functools import lru_cache
from typing import Any, NamedTuple

from pamqp import commands
from pamqp.base import Frame

from countermand.coordinator.dev.amqp.faults import Code, ConnectionFault, syntax_error
from countermand.coordinator.dev.amqp.tables import read_table

METHODS: dict[int, type[Frame]] = commands.INDEX_MAPPING
METHODS_CACHED_MAX = 1_024  # A publisher names the same few exchanges and keys; a hostile one fills 600 KB.

PUBLISH_INDEX = commands.Basic.Publish.index
_INTEGERS = {
    "octet": struct.Struct(">B"),
    "short": struct.Struct(">H"),
    "long": struct.Struct(">I"),
    "longlong": struct.Struct(">Q"),
}
_LONG = struct.Struct(">I")
_BITS_MAX = 8
METHOD_INDEX_BYTES = 4


class Publish(NamedTuple):
    """basic.publish, which comes more often than everything else together."""

    exchange: str
    routing_key: str
    mandatory: bool
    immediate: bool


def method_index(payload: bytes) -> int:
    """Class and method in one number, as pamqp has them. Raises 502."""
    if len(payload) < METHOD_INDEX_BYTES:
        raise syntax_error("a method frame without a method")
    index: int = _LONG.unpack_from(payload)[0]
    return index


def read_method(payload: bytes) -> Frame:
    """The method in a method frame. Raises 502, or 540 for one that AMQP 0-9-1 doesn't have."""
    index = method_index(payload)
    kind = METHODS.get(index)
    if kind is None:
        raise ConnectionFault(Code.NOT_IMPLEMENTED, f"unknown method {index >> 16}.{index & 0xFFFF}")
    method = kind()
    try:
        _read_fields(method, payload)
    except (IndexError, struct.error, UnicodeDecodeError):
        raise syntax_error(f"the fields of {kind.name} are cut short or garbled") from None
    return method


@lru_cache(METHODS_CACHED_MAX)
def read_publish(payload: bytes) -> Publish:
    """basic.publish; the same bytes are read once."""
    method: Any = read_method(payload)
    return Publish(method.exchange, method.routing_key, method.mandatory, method.immediate)


def _read_fields(method: Frame, payload: bytes) -> None:
    position, bit = METHOD_INDEX_BYTES, _BITS_MAX
    for field in method.attributes():
        kind = method.amqp_type(field)
        if kind == "bit":
            if bit == _BITS_MAX:
                bit, position = 0, position + 1
            setattr(method, field, bool(payload[position - 1] & (1 << bit)))
            bit += 1
            continue
        bit = _BITS_MAX
        position, value = _read_field(kind, payload, position)
        setattr(method, field, value)


def _read_field(kind: str, payload: bytes, position: int) -> tuple[int, object]:
    integer = _INTEGERS.get(kind)
    if integer is not None:
        return position + integer.size, integer.unpack_from(payload, position)[0]
    if kind == "shortstr":
        start = position + 1
        end = start + payload[position]
    else:
        start = position + 4
        end = start + _LONG.unpack_from(payload, position)[0]
    if end > len(payload):
        raise IndexError(kind)
    if kind == "shortstr":
        return end, payload[start:end].decode()
    if kind == "table":
        return end, read_table(payload, start, end)
    return end, payload[start:end]
