"""What spans two sagas (children, locks, events by business key), as messages between the coordinator's aggregates.

Each side is an aggregate of its own, found by its id and changed by messages alone. Child sagas and locks are asked of
the coordinator as of a participant, whose name is `definition.COORDINATOR`: with commands and replies, retries and
timeouts like any other's.
"""

import hashlib
import re
from typing import Annotated, Final, Literal

import msgspec
from msgspec import Meta

from countermand.schemas.errors import InvalidIdentifier
from countermand.schemas.identifiers import NAME_MAX, SAGA_ID_MAX, step_name
from countermand.schemas.moments import Moment

SAGA_ACTION: Final = "saga"
LOCK_ACTION: Final = "lock"

# What a lock's or an event's key may be; longer ones are business data, not names.
KEY_MAX: Final = 256
# A name of its own, or a definition's name behind `definition:`.
LOCK_MAX: Final = NAME_MAX + len("definition:")
# Whoever lets more sagas than this hold a lock at once has no lock.
AT_ONCE_MAX: Final = 10_000
# An event is kept for this long, for those who begin to wait for it later, unless its sender says otherwise.
EVENT_KEPT_MS: Final = 24 * 60 * 60 * 1000
# What is kept longer is a record of the business, which belongs into a database.
EVENT_KEPT_MAX_MS: Final = 30 * EVENT_KEPT_MS

_CONTROL = re.compile(r"[\x00-\x1f\x7f]")

LockName = Annotated[str, Meta(min_length=1, max_length=LOCK_MAX, pattern="^[a-z][a-z0-9_:-]*$")]
LockKey = Annotated[str, Meta(max_length=KEY_MAX)]
AtOnce = Annotated[int, Meta(ge=1, le=AT_ONCE_MAX)]


class ChildBody(msgspec.Struct, frozen=True):
    """The body of the command that starts a child saga.

    `version` null is the newest. `depth` counts the sagas above it.
    """

    saga_id: str
    definition: str
    version: int | None
    input: msgspec.Raw
    depth: int = 1


class LockBody(msgspec.Struct, frozen=True):
    """The body of the command that asks for a lock. `at_once` is how many may hold it at the same time.

    The key may be empty: then the lock has one queue for all.
    """

    lock: LockName
    key: LockKey
    at_once: AtOnce = 1


class ReleaseMessage(msgspec.Struct, frozen=True):
    """A saga has ended: it holds the lock, or waits for it, no more. `command_id` is that of its newest request."""

    lock: LockName
    key: LockKey
    saga_id: str
    step: str
    command_id: str


class ParentEndedMessage(msgspec.Struct, frozen=True):
    """To a child saga (`saga_id`): the one that started it, at `step`, has ended, and won't ask for its undoing."""

    saga_id: str
    parent: str
    step: str


class SubscribeMessage(msgspec.Struct, frozen=True):
    """A saga waits at `step` for an event with a business key, until a moment (Unix time).

    It is told by a signal whose `wait` is the step and whose `request_id` is the event's.
    """

    saga_id: str
    step: str
    event: str
    key: str
    until_ms: Moment


class EventMessage(msgspec.Struct, frozen=True):
    """Something happened to a business entity: every saga that waits for it is told.

    The same `request_id` counts once. Kept for `keep_ms` for sagas that begin to wait for it later; a saga gets the
    oldest one that it has not had.
    """

    request_id: str
    event: str
    key: str
    payload: msgspec.Raw = msgspec.Raw(b"null")
    keep_ms: int = EVENT_KEPT_MS
    reply_to: str | None = None


CoordinationMessage = SubscribeMessage | ReleaseMessage | ParentEndedMessage


def checked_key(field: str, value: str) -> str:
    """An event's business key, if it is one: 1 to 256 characters, no control characters."""
    if not 1 <= len(value) <= KEY_MAX or _CONTROL.search(value):
        raise InvalidIdentifier(field, value, f"1 to {KEY_MAX} characters, no control characters")
    return value


def gate_id(lock: str, key: str) -> str:
    """The id of the aggregate that knows who holds a lock for a key and who waits for it."""
    return _aggregate("lock", lock, key)


def mailbox_id(event: str, key: str) -> str:
    """The id of the aggregate that knows the events of a name and key, and who waits for one."""
    return _aggregate("event", event, key)


def child_id(saga_id: str, step: str, keys_closed: int = 0) -> str:
    """The id of the child saga that a step starts: the same whenever it is computed.

    `keys_closed` as in `step_key`: when an operator has a rejected child tried again, that is another saga.
    """
    place = step[len(step_name(step)) :].replace("[", ".").replace("]", "")
    name = f"{saga_id}:{step_name(step)}{place}" + (f"-{keys_closed}" if keys_closed else "")
    if len(name) <= SAGA_ID_MAX:
        return name
    digest = hashlib.sha256(name.encode()).hexdigest()[:32]
    return f"{saga_id[: SAGA_ID_MAX - 1 - len(digest)]}:{digest}"


def _aggregate(kind: Literal["lock", "event"], name: str, key: str) -> str:
    # A key may hold anything, so the name before it must not hold the sign that ends it.
    return f"{kind}:{name.replace(':', '/')}:{key}"
