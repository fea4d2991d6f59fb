"""What spans two sagas (children, locks, events by business key), as messages between the coordinator's aggregates.

Each side is an aggregate of its own, found by its id and changed by messages alone. Child sagas and locks are asked of
the coordinator as of a participant, whose name is `definition.COORDINATOR`: with commands and replies, retries and
timeouts like any other's.
"""

import hashlib
from typing import Final, Literal

import msgspec

from countermand.schemas.identifiers import SAGA_ID_MAX, step_name
from countermand.schemas.moments import Moment

SAGA_ACTION: Final = "saga"
LOCK_ACTION: Final = "lock"

# What a lock's or an event's key may be; longer ones are business data, not names.
KEY_MAX: Final = 256
# An event that nobody waits for yet is kept for this long, unless its sender says otherwise.
EVENT_KEPT_MS: Final = 24 * 60 * 60 * 1000


class ChildBody(msgspec.Struct, frozen=True):
    """The body of the command that starts a child saga. `version` null is the newest."""

    saga_id: str
    definition: str
    version: int | None
    input: msgspec.Raw


class LockBody(msgspec.Struct, frozen=True):
    """The body of the command that asks for a lock. `at_once` is how many may hold it at the same time."""

    lock: str
    key: str
    at_once: int = 1


class ReleaseMessage(msgspec.Struct, frozen=True):
    """A saga has ended: it holds the lock, or waits for it, no more. `command_id` is that of its newest request."""

    lock: str
    key: str
    saga_id: str
    step: str
    command_id: str


class SubscribeMessage(msgspec.Struct, frozen=True):
    """A saga waits at `step` for an event with a business key, until a moment (Unix time)."""

    saga_id: str
    step: str
    event: str
    key: str
    until_ms: Moment


class EventMessage(msgspec.Struct, frozen=True):
    """Something happened to a business entity: every saga that waits for it is told.

    The same `request_id` counts once. Kept for `keep_ms` for sagas that begin to wait for it later.
    """

    request_id: str
    event: str
    key: str
    payload: msgspec.Raw = msgspec.Raw(b"null")
    keep_ms: int = EVENT_KEPT_MS
    reply_to: str | None = None


def gate_id(lock: str, key: str) -> str:
    """The id of the aggregate that knows who holds a lock for a key and who waits for it."""
    return _aggregate("lock", lock, key)


def mailbox_id(event: str, key: str) -> str:
    """The id of the aggregate that knows the events of a name and key, and who waits for one."""
    return _aggregate("event", event, key)


def child_id(saga_id: str, step: str) -> str:
    """The id of the child saga that a step starts: the same whenever it is computed."""
    place = step[len(step_name(step)) :].replace("[", ".").replace("]", "")
    name = f"{saga_id}:{step_name(step)}{place}"
    if len(name) <= SAGA_ID_MAX:
        return name
    digest = hashlib.sha256(name.encode()).hexdigest()[:32]
    return f"{saga_id[: SAGA_ID_MAX - 1 - len(digest)]}:{digest}"


def _aggregate(kind: Literal["lock", "event"], name: str, key: str) -> str:
    return f"{kind}:{name}:{key}"
