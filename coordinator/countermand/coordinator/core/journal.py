"""The journal: one entry for everything that ever changed a saga, or that tried to.

Entries are small facts without payloads; results stand beside the state. The history that people read is this
journal, and `evolve` is its only interpreter.
"""

from typing import Literal

import msgspec

from countermand.coordinator.core.state import StuckCause
from countermand.schemas.identifiers import Direction
from countermand.schemas.messages import Failure, Phase

IgnoredBecause = Literal["late", "duplicate", "stale", "forged"]


class Entry(msgspec.Struct, frozen=True, tag_field="entry", omit_defaults=True):
    """What every entry is."""


class SagaStarted(Entry, frozen=True, tag="saga_started"):
    saga_id: str
    definition: str
    definition_hash: str
    secret: str
    content: str
    deadline_ms: int | None = None
    tags: tuple[str, ...] = ()
    traceparent: str | None = None


class StepAsked(Entry, frozen=True, tag="step_asked"):
    """A command is due; it is sent after this has been committed, and again whenever that is in doubt."""

    step: str
    direction: Direction
    attempt: int
    until_ms: int


class StepSucceeded(Entry, frozen=True, tag="step_succeeded"):
    step: str
    direction: Direction
    attempt: int


class StepRejected(Entry, frozen=True, tag="step_rejected"):
    step: str
    direction: Direction
    attempt: int
    code: str
    reason: str = ""


class AttemptFailed(Entry, frozen=True, tag="attempt_failed"):
    """`why` says what ended the attempt, `then` what becomes of the step; `until_ms` is the next attempt's moment."""

    step: str
    direction: Direction
    attempt: int
    why: Literal["failed", "timed_out", "unroutable"]
    code: str
    then: Literal["waiting", "not_done", "unknown", "exhausted"]
    reason: str = ""
    doubtful: bool = True
    until_ms: int = 0


class TurnDeferred(Entry, frozen=True, tag="turn_deferred"):
    """The saga is to turn back, but the pivot's answer is out, and decides."""

    failure: Failure


class CompensationStarted(Entry, frozen=True, tag="compensation_started"):
    failure: Failure


class DeadlineMissed(Entry, frozen=True, tag="deadline_missed"):
    """The deadline passed after the pivot: the saga goes on, because there is no way back."""


class SagaStuck(Entry, frozen=True, tag="saga_stuck"):
    cause: StuckCause
    step: str | None = None
    detail: str = ""
    lost_version: int = 0


class LostVersionSeen(Entry, frozen=True, tag="lost_version_seen"):
    """The store once knew this version, and has lost it too."""

    version: int


class SagaReleased(Entry, frozen=True, tag="saga_released"):
    """What it was stuck on has been settled, or an operator has looked at it."""


class OperatorActed(Entry, frozen=True, tag="operator_acted"):
    """Who did what to the saga, and why; what follows from it are the entries after this one.

    `operation` is what was asked for, without payloads: of an edited input or a given result, `payload_digest` is the
    SHA-256, and the payload itself stands beside the state.
    """

    request_id: str
    content: str
    actor: str
    reason: str
    operation: str
    step: str | None = None
    payload_digest: str | None = None
    evidence: str | None = None


class RetryGranted(Entry, frozen=True, tag="retry_granted"):
    """A step is to be tried again with fresh patience; under a new key, if its former one was closed by a rejection."""

    step: str
    direction: Direction
    new_key: bool = False
    edited: bool = False


class StepSkipped(Entry, frozen=True, tag="step_skipped"):
    step: str
    direction: Direction


class CompensationSettled(Entry, frozen=True, tag="compensation_settled"):
    step: str
    evidence: str


class SagaPaused(Entry, frozen=True, tag="saga_paused"):
    actor: str


class SagaResumed(Entry, frozen=True, tag="saga_resumed"):
    """`deadline_ms` is the saga's deadline from now on."""

    deadline_ms: int | None = None


class DeadlineExtended(Entry, frozen=True, tag="deadline_extended"):
    deadline_ms: int


class SignalKept(Entry, frozen=True, tag="signal_kept"):
    request_id: str
    name: str


class WatcherAdded(Entry, frozen=True, tag="watcher_added"):
    queue: str


class ReplyIgnored(Entry, frozen=True, tag="reply_ignored"):
    """A reply that changed nothing, and why."""

    step: str
    direction: Direction
    attempt: int
    kind: str
    why: IgnoredBecause


class SagaEnded(Entry, frozen=True, tag="saga_ended"):
    """`remaining` are the effects that stay in an abandoned saga: the steps, and how sure it is that each was done."""

    phase: Phase
    problem: str = ""
    remaining: tuple[str, ...] = ()


JournalEntry = (
    SagaStarted
    | StepAsked
    | StepSucceeded
    | StepRejected
    | AttemptFailed
    | TurnDeferred
    | CompensationStarted
    | DeadlineMissed
    | SagaStuck
    | LostVersionSeen
    | SagaReleased
    | OperatorActed
    | RetryGranted
    | StepSkipped
    | CompensationSettled
    | SagaPaused
    | SagaResumed
    | DeadlineExtended
    | SignalKept
    | WatcherAdded
    | ReplyIgnored
    | SagaEnded
)


class Record(msgspec.Struct, frozen=True):
    """An entry in its place: the version that it belongs to, the moment, and the event that caused it."""

    version: int
    at_ms: int
    cause: str
    entry: JournalEntry
