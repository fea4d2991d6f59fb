"""What crosses the wire, as values. `envelope` turns them into headers and bodies and back.

Three families: commands and replies between coordinator and participants, requests and answers between clients and
the coordinator, and lifecycle events from the coordinator to anyone.
"""

from typing import Any, Literal

import msgspec

from countermand.schemas.identifiers import Direction
from countermand.schemas.moments import Moment
from countermand.schemas.operations import Actor, Operation, Why

PROTOCOL = 1

# --- commands and replies


class CommandMessage(msgspec.Struct, frozen=True):
    """Asks a participant to do or to undo one step, or what became of it.

    `step` is the definition's name for it, and inside a for-each the item's place: `ask_quote[17]`. `body` is the
    command's own JSON for `do` and `probe`; for `undo` it is `{"command": …, "result": … or null}`. `key` is the
    same for every attempt and every direction. `command_id` can't be guessed and must come back in the reply.
    `deadline_ms` is the moment at which the coordinator stops waiting for this attempt (Unix time).
    """

    saga_id: str
    definition: str
    step: str
    participant: str
    action: str
    direction: Direction
    attempt: int
    key: str
    command_id: str
    saga_version: int
    deadline_ms: int
    body: bytes
    traceparent: str | None = None

    @property
    def key_name(self) -> str:
        """The key without the saga's id: what a participant keeps its record of the step under, beside that id."""
        return self.key.partition("/")[2]


class Succeeded(msgspec.Struct, frozen=True, tag="succeeded"):
    """It was done (or undone); to a probe: the action was done. `result` is JSON; null where there is none."""

    result: msgspec.Raw = msgspec.Raw(b"null")


class Rejected(msgspec.Struct, frozen=True, tag="rejected"):
    """A business no. The participant vouches that nothing was done and that nothing will be."""

    code: str
    reason: str = ""


class Failed(msgspec.Struct, frozen=True, tag="failed"):
    """It did not work this time. Whether something was done is unknown, unless `rolled_back` says that nothing was.

    `retryable` false says that trying again can't help; `retry_after_ms` asks for a longer pause before the next try.
    """

    code: str
    reason: str = ""
    rolled_back: bool = False
    retry_after_ms: int | None = None
    retryable: bool = True


ReplyOutcome = Succeeded | Rejected | Failed


class ReplyMessage(msgspec.Struct, frozen=True):
    """A participant's answer to one attempt. Everything but `outcome` and `replayed` repeats the command.

    `replayed` says that the answer was on record: this attempt did nothing.
    """

    saga_id: str
    step: str
    direction: Direction
    attempt: int
    key: str
    command_id: str
    saga_version: int
    participant: str
    outcome: ReplyOutcome
    replayed: bool = False
    traceparent: str | None = None


class UndoBody(msgspec.Struct, frozen=True):
    """The body of an `undo` command: the original command, and the action's result where it is known."""

    command: msgspec.Raw
    result: msgspec.Raw = msgspec.Raw(b"null")


# --- what participants say of themselves


class AnnouncedAction(msgspec.Struct, frozen=True, omit_defaults=True):
    """One action that a participant does. `schema` is JSON Schema: of `command`, of `result`, and their `$defs`.

    `probe` says that it can find out what became of an action that left nothing on record.
    """

    action: str
    compensation: bool = False
    schema: dict[str, Any] | None = None
    probe: bool = False


class AnnounceMessage(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a participant is: for people and for checks, never for deciding. Whoever says nothing works the same.

    `instance` tells one process of the participant from another; `started_ms` is when it began (Unix time). `stopping`
    is its goodbye: it takes no more commands, and is forgotten.
    """

    participant: str
    instance: str
    actions: tuple[AnnouncedAction, ...] = ()
    protocol: int = PROTOCOL
    library: str = ""
    started_ms: Moment = 0
    stopping: bool = False


# --- requests of clients, and answers


class StartMessage(msgspec.Struct, frozen=True):
    """Starts a saga. The same id with the same content is answered, not repeated; with other content it is refused.

    `version` null means the newest. `request_id` comes back in the answer. `reply_to` is the client's queue, to which
    the answer and, later, the outcome go; null if nobody waits.
    """

    request_id: str
    saga_id: str
    definition: str
    input: msgspec.Raw
    version: int | None = None
    tags: tuple[str, ...] = ()
    reply_to: str | None = None
    traceparent: str | None = None


class SignalMessage(msgspec.Struct, frozen=True):
    """Tells a saga that something happened. The same `request_id` counts once.

    `wait` names the step that waits for it; it is set where the coordinator itself tells of an event by business key.
    """

    request_id: str
    saga_id: str
    name: str
    payload: msgspec.Raw = msgspec.Raw(b"null")
    reply_to: str | None = None
    wait: str | None = None


class CancelMessage(msgspec.Struct, frozen=True):
    """Asks that a saga be undone."""

    request_id: str
    saga_id: str
    reason: str
    reply_to: str | None = None


class WatchMessage(msgspec.Struct, frozen=True):
    """Asks for the outcome of a saga: at once if it has ended, otherwise when it ends."""

    request_id: str
    saga_id: str
    reply_to: str


class OperateMessage(msgspec.Struct, frozen=True):
    """An operator's request. The same `request_id` counts once.

    `actor` and `reason` stand in the saga's history; nobody checks here who the actor is. With `expected_version` the
    request is refused if the saga has changed since that version was looked at.
    """

    request_id: str
    saga_id: str
    operation: Operation
    actor: Actor
    reason: Why
    expected_version: int | None = None
    reply_to: str | None = None


class DefineMessage(msgspec.Struct, frozen=True):
    """Registers a definition. `document` is its JSON."""

    request_id: str
    document: bytes
    reply_to: str | None = None


RequestMessage = StartMessage | SignalMessage | CancelMessage | WatchMessage | OperateMessage | DefineMessage

Phase = Literal["running", "compensating", "completed", "compensated", "compensated_with_exceptions", "abandoned"]


class Failure(msgspec.Struct, frozen=True):
    """Why a saga turned back: the step, if it was one, and a stable code."""

    code: str
    reason: str = ""
    step: str | None = None


class Accepted(msgspec.Struct, frozen=True, tag="accepted", tag_field="answer"):
    """The request was committed (or had been before: `duplicate`). `saga_version` is the saga's version since."""

    request_id: str
    saga_id: str
    phase: Phase
    duplicate: bool = False
    saga_version: int | None = None


class Refused(msgspec.Struct, frozen=True, tag="refused", tag_field="answer"):
    """The request changed nothing. `code` is stable; `problem` names the field and what was expected."""

    request_id: str
    code: str
    problem: str
    saga_id: str | None = None
    findings: tuple[str, ...] = ()


class Defined(msgspec.Struct, frozen=True, tag="defined", tag_field="answer"):
    """The definition is registered under this identity. `findings` are the lint's warnings, if there are any."""

    request_id: str
    name: str
    version: int
    hash: str
    findings: tuple[str, ...] = ()


class EventAccepted(msgspec.Struct, frozen=True, tag="event_accepted", tag_field="answer"):
    """The event was taken (or had been before: `duplicate`). `sagas` is how many have been told of it so far."""

    request_id: str
    event: str
    key: str
    sagas: int
    duplicate: bool = False


class Outcome(msgspec.Struct, frozen=True, tag="outcome", tag_field="answer"):
    """A saga has ended. `result` is the definition's outcome for a completed saga, null otherwise."""

    saga_id: str
    phase: Phase
    result: msgspec.Raw = msgspec.Raw(b"null")
    failure: Failure | None = None


Answer = Accepted | Refused | Defined | EventAccepted | Outcome

# --- lifecycle

LifecycleName = Literal[
    "saga.started",
    "saga.compensating",
    "saga.stuck",
    "saga.released",
    "saga.paused",
    "saga.resumed",
    "saga.migrated",
    "saga.completed",
    "saga.compensated",
    "saga.compensated_with_exceptions",
    "saga.abandoned",
    "step.succeeded",
    "step.rejected",
    "step.failed",
    "step.compensated",
    "step.skipped",
    "step.settled",
    "branch.taken",
    "wait.begun",
    "wait.met",
    "wait.timed_out",
    "approval.asked",
    "approval.escalated",
    "approval.decided",
    "approval.timed_out",
    "scope.compensating",
    "scope.compensated",
    "lock.asked",
    "child.asked",
]


class LifecycleMessage(msgspec.Struct, frozen=True):
    """What happened to a saga. `id` is the same whenever the same happening is told again."""

    id: str
    name: LifecycleName
    saga_id: str
    definition: str
    saga_version: int
    at_ms: int
    data: dict[str, Any]
