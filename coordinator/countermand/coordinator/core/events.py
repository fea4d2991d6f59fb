"""Everything that can happen to a saga. Each event brings its moment and its identity, and chance where it is needed.

`event_id` is the same when the same event comes again; it stands in the journal as the cause of what it did.
"""

import msgspec

from countermand.coordinator.core.plan import Plan
from countermand.coordinator.core.state import Ask
from countermand.schemas.identifiers import Direction
from countermand.schemas.messages import ReplyMessage
from countermand.schemas.operations import Operation


class StartRequested(msgspec.Struct, frozen=True):
    """`secret` is fresh chance for this saga; `content` is a digest by which a repeated start is recognised."""

    event_id: str
    at_ms: int
    saga_id: str
    input: msgspec.Raw
    secret: str
    content: str
    request_id: str = ""
    reply_to: str | None = None
    tags: tuple[str, ...] = ()
    traceparent: str | None = None


class ReplyReceived(msgspec.Struct, frozen=True):
    event_id: str
    at_ms: int
    reply: ReplyMessage


class WokenUp(msgspec.Struct, frozen=True):
    event_id: str
    at_ms: int


class SignalReceived(msgspec.Struct, frozen=True):
    event_id: str
    at_ms: int
    request_id: str
    name: str
    payload: msgspec.Raw
    reply_to: str | None = None
    wait: str | None = None


class CancelRequested(msgspec.Struct, frozen=True):
    event_id: str
    at_ms: int
    request_id: str
    reason: str
    reply_to: str | None = None


class WatchRequested(msgspec.Struct, frozen=True):
    event_id: str
    at_ms: int
    request_id: str
    reply_to: str


class OperationRequested(msgspec.Struct, frozen=True):
    """What an operator asks for. `content` is a digest by which a repeated request is recognised.

    `target` is the version that a migration is to go over to; null if there is none.
    """

    event_id: str
    at_ms: int
    request_id: str
    operation: Operation
    actor: str
    reason: str
    content: str
    expected_version: int | None = None
    reply_to: str | None = None
    target: Plan | None = None


class ParentRequested(msgspec.Struct, frozen=True):
    """What the saga that starts this one asks: that it be started, or undone.

    `secret` and `content` are as for a start. Of an undoing, `input` is what it was, or would have been, started with,
    and `done` says that it is known to have completed. `depth` counts the sagas above it.
    """

    event_id: str
    at_ms: int
    saga_id: str
    direction: Direction
    ask: Ask
    parent: str
    step: str
    key: str
    input: msgspec.Raw
    secret: str
    content: str
    traceparent: str | None = None
    depth: int = 1
    done: bool = False


class ParentEnded(msgspec.Struct, frozen=True):
    """The saga that started this one has ended."""

    event_id: str
    at_ms: int
    parent: str
    step: str


class CommandUnroutable(msgspec.Struct, frozen=True):
    """The broker has no queue for a command, or a queue that takes no more.

    `certain` says that no copy of it can be on its way: then this attempt was not made.
    """

    event_id: str
    at_ms: int
    step: str
    direction: Direction
    attempt: int
    certain: bool = True


SagaEvent = (
    StartRequested
    | ReplyReceived
    | WokenUp
    | SignalReceived
    | CancelRequested
    | WatchRequested
    | OperationRequested
    | CommandUnroutable
    | ParentRequested
    | ParentEnded
)
