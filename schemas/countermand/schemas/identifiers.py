"""Who is who: saga ids, step names, keys, partitions and command ids.

Everything here is a pure function of its arguments, so that both sides of the wire, in any language, compute the
same value.
"""

import hashlib
import os
import re
import time
import zlib
from typing import Final, Literal, get_args

from countermand.schemas.errors import InvalidIdentifier

# An action, its compensation, or the question what became of an action that was given up in doubt.
Direction = Literal["do", "undo", "probe"]
DIRECTIONS: Final[tuple[Direction, ...]] = get_args(Direction)

# The coordinator inbox is split into this many queues. It is part of the protocol: a reply's shard is computed by its
# sender. Four keep one slow queue process of the broker from being the limit; more only cost idle memory.
INBOX_SHARDS: Final = 4

SAGA_ID_MAX: Final = 128
NAME_MAX: Final = 64
KEY_MARK_MAX: Final = 10  # "~" and up to nine digits: see `step_key`.
TAGS_MAX: Final = 16
LOOPS_MAX: Final = 3  # For-each inside for-each: each level makes a step's name longer by its item's place.
STEP_MAX: Final = NAME_MAX + LOOPS_MAX * len("[99999]")

_SAGA_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:\-]{0,127}\Z")
_TAG = re.compile(r"[A-Za-z0-9._:=@/\-]{1,64}\Z")
_NAME = re.compile(r"[a-z][a-z0-9_]{0,63}\Z")
_STEP = re.compile(r"[a-z][a-z0-9_]{0,63}(?:\[(?:0|[1-9][0-9]{0,4})\]){0,3}\Z")
_LATER_KEY = re.compile(r"~[1-9][0-9]{0,8}\Z")
_INSTANCE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._\-]{0,127}\Z")
_SLUG = re.compile(r"[a-z][a-z0-9_\-]{0,63}\Z")


def checked_saga_id(value: str) -> str:
    """The saga id, if it is one: 1 to 128 of `A-Z a-z 0-9 . _ : -`, not starting with a sign."""
    if not _SAGA_ID.match(value):
        raise InvalidIdentifier(
            "saga_id",
            value,
            "1 to 128 letters, digits, '.', '_', ':' or '-', starting with a letter or digit",
        )
    return value


def checked_name(field: str, value: str) -> str:
    """A step's or action's name, which is written in expressions: `a-z 0-9 _`, at most 64, starting with a letter."""
    if not _NAME.match(value):
        raise InvalidIdentifier(field, value, "1 to 64 lower-case letters, digits or '_', starting with a letter")
    return value


def checked_step(value: str) -> str:
    """A step of a saga: the definition's name for it, and inside a for-each the item's place, counted from 0.

    `reserve_stock`, or `ask_quote[17]`; with one place more for each for-each around it, up to three.
    """
    if not _STEP.match(value):
        raise InvalidIdentifier(
            "step", value, "a name (1 to 64 of a-z, 0-9, '_', starting with a letter), then up to three of '[17]'"
        )
    return value


def step_name(step: str) -> str:
    """The definition's name for a step of a saga: `ask_quote` for `ask_quote[17]`."""
    return step.partition("[")[0]


def step_place(step: str) -> str:
    """Where a step stands in its for-each: `[17]` for `ask_quote[17]`, nothing for a step outside of any."""
    return step[len(step_name(step)) :]


def checked_slug(field: str, value: str) -> str:
    """A definition's or participant's name, which is written in routing keys: like a name, and '-' too."""
    if not _SLUG.match(value):
        raise InvalidIdentifier(field, value, "1 to 64 lower-case letters, digits, '_' or '-', starting with a letter")
    return value


def checked_instance(field: str, value: str) -> str:
    """The name of one process of a participant: 1 to 128 of `A-Z a-z 0-9 . _ -`, not starting with a sign."""
    if not _INSTANCE.match(value):
        expected = "1 to 128 letters, digits, '.', '_' or '-', starting with a letter or digit"
        raise InvalidIdentifier(field, value, expected)
    return value


def checked_tags(values: tuple[str, ...]) -> tuple[str, ...]:
    """A saga's tags, if they are such: at most 16, each 1 to 64 of `A-Z a-z 0-9 . _ : = @ / -`."""
    if len(values) > TAGS_MAX:
        raise InvalidIdentifier("tags", f"{len(values)} tags", f"at most {TAGS_MAX}")
    for value in values:
        if not _TAG.match(value):
            raise InvalidIdentifier("tags", value, "1 to 64 letters, digits, '.', '_', ':', '=', '@', '/' or '-'")
    return values


def new_saga_id() -> str:
    """A fresh id that sorts by its time of creation (UUID version 7, RFC 9562 section 5.7)."""
    milliseconds = time.time_ns() // 1_000_000
    value = (milliseconds << 80) | int.from_bytes(os.urandom(10), "big")
    value = (value & ~(0xF << 76)) | (0x7 << 76)
    value = (value & ~(0x3 << 62)) | (0x2 << 62)
    text = f"{value:032x}"
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"


def new_secret() -> str:
    """128 random bits from the operating system, in hexadecimal."""
    return os.urandom(16).hex()


def step_key(saga_id: str, step: str, keys_closed: int = 0) -> str:
    """The idempotency key of a step: the same for every attempt and every direction.

    A rejection closes a key for good. When an operator has a rejected step tried again, it gets a new key, which counts
    those that were closed (`keys_closed`): `order-1/ship~1`. So a saga that has forgotten a key finds it again.
    """
    return f"{saga_id}/{step}~{keys_closed}" if keys_closed else f"{saga_id}/{step}"


def is_step_key(key: str, saga_id: str, step: str) -> bool:
    """Whether this is a key of this saga and step: the first one, or a later one."""
    first = step_key(saga_id, step)
    return key == first or (key.startswith(first) and bool(_LATER_KEY.match(key, len(first))))


def command_id(secret: str, step: str, direction: Direction, attempt: int) -> str:
    """What a reply must repeat to be believed: 128 bits that only the saga's secret gives."""
    text = f"{step}/{direction}/{attempt}".encode()
    return hashlib.blake2b(text, key=secret.encode(), digest_size=16).hexdigest()


def partition_of(saga_id: str, partitions: int) -> int:
    """The store's partition of a saga."""
    return zlib.crc32(saga_id.encode()) % partitions


def inbox_key(saga_id: str) -> str:
    """The routing key on the inbox exchange for everything about this saga."""
    return str(zlib.crc32(saga_id.encode()) % INBOX_SHARDS)
