"""JSON in and out, with the limits that keep one message from harming anybody.

Limits are checked before or while parsing, so that a bomb is never unpacked. Each names the field that broke it.
"""

import re
from collections.abc import Callable, Hashable, Mapping
from functools import lru_cache, partial
from typing import Any, Final, TypeVar, cast

import msgspec

from countermand.schemas.errors import LimitExceeded, MalformedMessage
from countermand.schemas.models import decode_hook, encode_hook, is_model, read_model, split_complaint

BODY_BYTES_MAX: Final = 256 * 1024  # Payloads are facts about a step, not files; a claim check carries files.
JSON_DEPTH_MAX: Final = 32  # Deeper than any honest payload; shallow enough for every language's parser.
# An undo carries the command and its result, each as large as a body may be. Refused, it could never be undone.
UNDO_BYTES_MAX: Final = 2 * BODY_BYTES_MAX + 64
UNDO_DEPTH_MAX: Final = JSON_DEPTH_MAX + 1
HEADERS_MAX: Final = 64
HEADERS_BYTES_MAX: Final = 16 * 1024

T = TypeVar("T")

# Without alternatives for each character: every message is looked at, and this is what looking costs.
_strings = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*"?', re.DOTALL)
_NO_BRACKETS: Final = bytes(set(range(256)) - set(b"[]{}"))
_encode = msgspec.json.Encoder(enc_hook=encode_hook).encode


def encode(value: object) -> bytes:
    """The value as JSON; pydantic's models by their own rules."""
    return _encode(value)


@lru_cache(maxsize=1024)
def _decode(type_: Hashable) -> Callable[[bytes], Any]:
    if is_model(type_):
        # From the text itself: decimals and large numbers arrive as they were written.
        return partial(read_model, type_)
    return msgspec.json.Decoder(type_, dec_hook=decode_hook).decode


def decode_checked(body: bytes, type_: type[T], *, check: Callable[[bytes], None] | None = None) -> T:
    """Decodes JSON that came from outside; msgspec's own errors pass through. `check` is `check_body` unless given.

    Raises:
        LimitExceeded: the body is too large or nested too deeply.
        msgspec.ValidationError: a field has the wrong shape (the error names its path).
        msgspec.DecodeError: not JSON.
    """
    (check or check_body)(body)
    decoded: T = _decode(cast("Hashable", type_))(body)
    return decoded


def decode_body(body: bytes, type_: type[T], *, field: str = "body", check: Callable[[bytes], None] | None = None) -> T:
    """Decodes the body of a message.

    Raises:
        MalformedMessage: with the path of the fault.
    """
    try:
        return decode_checked(body, type_, check=check)
    except msgspec.ValidationError as error:
        problem, path = split_complaint(error)
        raise MalformedMessage(f"{field}{path}", problem) from error
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
        raise MalformedMessage(field, f"not valid JSON: {error}") from error


def check_body(
    body: bytes, *, field: str = "body", bytes_max: int = BODY_BYTES_MAX, depth_max: int = JSON_DEPTH_MAX
) -> None:
    """Refuses a body that is over the limits, without parsing it.

    Raises:
        LimitExceeded: says the size or the depth found and the limit.
    """
    if len(body) > bytes_max:
        raise LimitExceeded(field, f"{len(body)} bytes; at most {bytes_max} are allowed")
    if body.count(b"{") + body.count(b"[") > depth_max and _depth(body) > depth_max:
        raise LimitExceeded(field, f"nested deeper than {depth_max} levels")


def check_undo_body(body: bytes, *, field: str = "body") -> None:
    """As `check_body`, for an undo: a command and its result in one."""
    check_body(body, field=field, bytes_max=UNDO_BYTES_MAX, depth_max=UNDO_DEPTH_MAX)


def check_headers(headers: Mapping[str, object]) -> None:
    """Refuses too many, too large or structured headers.

    Raises:
        LimitExceeded: too many or too large.
        MalformedMessage: a `ce-` header that isn't text or a number.
    """
    if len(headers) > HEADERS_MAX:
        raise LimitExceeded("headers", f"{len(headers)} entries; at most {HEADERS_MAX} are allowed")
    size = 0
    for name, value in headers.items():
        size += len(name)
        if isinstance(value, str | bytes):
            size += len(value)
        elif name.startswith("ce-") and not isinstance(value, int):
            raise MalformedMessage(name, f"expected text, got {type(value).__name__}")
    if size > HEADERS_BYTES_MAX:
        raise LimitExceeded("headers", f"{size} bytes; at most {HEADERS_BYTES_MAX} are allowed")


def _depth(body: bytes) -> int:
    depth = deepest = 0
    for bracket in _strings.sub(b"", body).translate(None, _NO_BRACKETS):
        if bracket in b"{[":
            depth += 1
            if depth > deepest:
                deepest = depth
        else:
            depth -= 1
    return deepest
