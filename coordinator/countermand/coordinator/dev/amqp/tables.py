"""Field tables, read without trust.

The rules:
- Nothing recurses on what a client sent before its depth is known.
- Everything is read by offset from one piece of bytes: cutting a slice per field costs the square of the size, which
  is how a table of 100 KB keeps pamqp's decoder busy for seconds.
- The headers of a message are never decoded. They are walked once, and later cut and joined as bytes.
"""

import struct
from typing import TypeAlias

from countermand.coordinator.dev.amqp.faults import syntax_error
from countermand.coordinator.dev.amqp.limits import ARGUMENT_DEPTH_MAX, ARGUMENT_ENTRIES_MAX

Value: TypeAlias = "str | bytes | int | float | bool | list[Value] | dict[str, Value] | None"
Entries: TypeAlias = list[tuple[bytes, bytes]]  # Name, and type with value, as they were sent.

# The bytes after the type octet, where their number is fixed (the types that RabbitMQ knows).
_FIXED = {
    ord(kind): size
    for kind, size in {
        "t": 1, "b": 1, "B": 1, "s": 2, "u": 2, "I": 4, "i": 4, "l": 8, "L": 8, "f": 4, "d": 8, "D": 5, "T": 8, "V": 0,
    }.items()
}  # fmt: skip
_NUMBERS = {
    ord(kind): struct.Struct(code)
    for kind, code in {
        "t": ">?", "b": ">b", "B": ">B", "s": ">h", "u": ">H", "I": ">i", "i": ">I", "l": ">q", "L": ">q", "f": ">f",
        "d": ">d", "T": ">Q",
    }.items()
}  # fmt: skip
_LONG = struct.Struct(">I")
_STRING, _BYTES, _TABLE, _ARRAY = b"SxFA"


def check_table(data: bytes, start: int, end: int, *, depth_max: int, entries_max: int | None = None) -> None:
    """Walk the table whose entries stand at `data[start:end]`. Raises 502 where it isn't one, or is too deep."""
    position, entries = start, 0
    within = [(end, True)]
    try:
        while within:
            end, named = within[-1]
            if position == end:
                within.pop()
                continue
            if named:
                position += 1 + data[position]
            kind = data[position]
            size = _FIXED.get(kind)
            if size is not None:
                position += 1 + size
            elif kind in (_STRING, _BYTES):
                position += 5 + _LONG.unpack_from(data, position + 1)[0]
            elif kind in (_TABLE, _ARRAY):
                inner_end = position + 5 + _LONG.unpack_from(data, position + 1)[0]
                if inner_end > end:
                    raise syntax_error("a field table is longer than what holds it")
                if len(within) >= depth_max:
                    raise syntax_error(f"a field table is nested more than {depth_max} levels deep")
                position += 5
                within.append((inner_end, kind == _TABLE))
            else:
                raise syntax_error(f"a field table holds a value of the unknown type {kind:#04x}")
            if position > end:
                raise syntax_error("a field table ends within a value")
            entries += 1
            if entries_max is not None and entries > entries_max:
                raise syntax_error(f"a field table holds more than {entries_max} values")
    except (IndexError, struct.error):
        raise syntax_error("a field table ends within a value") from None


def read_table(data: bytes, start: int, end: int) -> dict[str, Value]:
    """The decoded table at `data[start:end]`, for the arguments of methods. Raises 502."""
    check_table(data, start, end, depth_max=ARGUMENT_DEPTH_MAX, entries_max=ARGUMENT_ENTRIES_MAX)
    return _decode_table(data, start, end)


def _decode_table(data: bytes, position: int, end: int) -> dict[str, Value]:
    table: dict[str, Value] = {}
    while position < end:
        length = data[position]
        name = data[position + 1 : position + 1 + length].decode(errors="replace")
        position, table[name] = _decode_value(data, position + 1 + length)
    return table


def _decode_value(data: bytes, position: int) -> tuple[int, Value]:
    kind = data[position]
    position += 1
    number = _NUMBERS.get(kind)
    if number is not None:
        return position + number.size, number.unpack_from(data, position)[0]
    if kind in _FIXED:  # A decimal, or nothing. No argument that we know is a decimal.
        return position + _FIXED[kind], None
    start = position + 4
    end = start + _LONG.unpack_from(data, position)[0]
    if kind == _TABLE:
        return end, _decode_table(data, start, end)
    if kind == _ARRAY:
        items: list[Value] = []
        while start < end:
            start, item = _decode_value(data, start)
            items.append(item)
        return end, items
    raw = data[start:end]
    try:
        return end, raw if kind == _BYTES else raw.decode()
    except UnicodeDecodeError:
        return end, raw


def split_entries(table: bytes) -> Entries:
    """The entries of a table that was checked, outermost level only, each as it was sent."""
    entries: Entries = []
    position = 0
    while position < len(table):
        start = position + 1
        value = start + table[position]
        kind = table[value]
        size = _FIXED.get(kind)
        position = value + 1 + (4 + _LONG.unpack_from(table, value + 1)[0] if size is None else size)
        entries.append((table[start:value], table[value:position]))
    return entries


def join_entries(entries: Entries) -> bytes:
    """The table, without its length."""
    return b"".join(bytes((len(name),)) + name + value for name, value in entries)


def decoded(value: bytes) -> Value:
    """One value, with its type, decoded; None when it is nested too deep to be one of ours."""
    framed = b"\x00" + value
    check_table(framed, 0, len(framed), depth_max=ARGUMENT_DEPTH_MAX, entries_max=ARGUMENT_ENTRIES_MAX)
    return _decode_value(value, 0)[1]


def encoded_string(text: str) -> bytes:
    raw = text.encode()
    return b"S" + _LONG.pack(len(raw)) + raw


def encoded_long(number: int) -> bytes:
    return b"l" + struct.pack(">q", number)


def encoded_timestamp(seconds: int) -> bytes:
    return b"T" + struct.pack(">Q", seconds)


def encoded_tables(tables: list[Entries]) -> bytes:
    """An array of tables, with its type."""
    items = b"".join(b"F" + _LONG.pack(len(body := join_entries(table))) + body for table in tables)
    return b"A" + _LONG.pack(len(items)) + items


def encoded_strings(texts: list[str]) -> bytes:
    items = b"".join(encoded_string(text) for text in texts)
    return b"A" + _LONG.pack(len(items)) + items
