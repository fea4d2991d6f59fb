"""The journal: one entry for everything that ever changed a saga, or that tried to.

Entries are small facts without payloads; results stand beside the state. The history that people read is this
journal, and `evolve` is its only interpreter.
"""

from typing import Literal

import msgspec

from countermand.coordinator.core.state import Route, StuckCause
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
    by_hand: bool = False


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
    """The saga turns back; or one scope of it does, and then `given_up` are its nodes that something was out for."""

    failure: Failure
    scope: str | None = None
    given_up: tuple[str, ...] = ()


class BranchTaken(Entry, frozen=True, tag="branch_taken"):
    """A `when` was looked at: its condition holds, or doesn't."""

    step: str
    then: bool


class LoopOpened(Entry, frozen=True, tag="loop_opened"):
    """A `for_each` has so many items, which stand beside the state."""

    step: str
    count: int


class WaitBegun(Entry, frozen=True, tag="wait_begun"):
    step: str
    event: str
    until_ms: int
    key: str | None = None


class EventTaken(Entry, frozen=True, tag="event_taken"):
    """What a wait waited for has come, now or before."""

    step: str
    request_id: str


class WaitTimedOut(Entry, frozen=True, tag="wait_timed_out"):
    step: str


class SleepBegun(Entry, frozen=True, tag="sleep_begun"):
    step: str
    until_ms: int


class SleepOver(Entry, frozen=True, tag="sleep_over"):
    step: str


class ApprovalAsked(Entry, frozen=True, tag="approval_asked"):
    """Somebody has to decide. What is shown stands beside the state; `digest` is its SHA-256."""

    step: str
    until_ms: int
    digest: str
    roles: tuple[str, ...] = ()
    assignees: tuple[str, ...] = ()
    requester: str | None = None
    escalate_ms: int | None = None
    escalate_to: str | None = None


class ApprovalEscalated(Entry, frozen=True, tag="approval_escalated"):
    """Nobody has decided yet: now this role may, too."""

    step: str
    role: str


class ApprovalDecided(Entry, frozen=True, tag="approval_decided"):
    step: str
    decision: Literal["approved", "denied"]
    by: str


class ApprovalTimedOut(Entry, frozen=True, tag="approval_timed_out"):
    step: str


class ScopeUndone(Entry, frozen=True, tag="scope_undone"):
    """Everything that a failed scope did has been undone; the saga goes on after it."""

    step: str


class LockAsked(Entry, frozen=True, tag="lock_asked"):
    """From now on, until the saga has ended, it holds this lock or waits for it."""

    step: str
    lock: str
    key: str


class ChildAsked(Entry, frozen=True, tag="child_asked"):
    """From now on, until the saga has ended, this child saga may be undone."""

    step: str
    saga_id: str


class ParentAsked(Entry, frozen=True, tag="parent_asked"):
    """The saga that started this one asks for it, or for its undoing; the answer repeats what is here."""

    saga_id: str
    step: str
    key: str
    direction: Direction
    attempt: int
    command_id: str
    saga_version: int
    depth: int = 1


class ParentGone(Entry, frozen=True, tag="parent_gone"):
    """The saga that started this one has ended: nobody will ask for its undoing any more."""


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
    """`deadline_ms` is the saga's deadline from now on; what it waits for itself ends so much later."""

    deadline_ms: int | None = None
    shift_ms: int = 0


class DeadlineExtended(Entry, frozen=True, tag="deadline_extended"):
    deadline_ms: int


class SagaMigrated(Entry, frozen=True, tag="saga_migrated"):
    """The saga goes on under another version of its definition.

    `routes` are, by the step's name, how the former version undoes what it did, where the other one does it otherwise;
    what had been sent to the steps `inputs_kept` stands beside the state. `forgotten` are nodes that the other version
    doesn't have, `exempt` steps that it has and that the saga does without.
    """

    definition: str
    definition_hash: str
    former: str
    former_hash: str
    routes: dict[str, Route] = {}
    inputs_kept: tuple[str, ...] = ()
    forgotten: tuple[str, ...] = ()
    exempt: tuple[str, ...] = ()


class SignalKept(Entry, frozen=True, tag="signal_kept"):
    """An event has come, for one wait only if `wait` names it, or for the next one with the same business `key`."""

    request_id: str
    name: str
    wait: str | None = None
    key: str | None = None


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
    | BranchTaken
    | LoopOpened
    | WaitBegun
    | EventTaken
    | WaitTimedOut
    | SleepBegun
    | SleepOver
    | ApprovalAsked
    | ApprovalEscalated
    | ApprovalDecided
    | ApprovalTimedOut
    | ScopeUndone
    | LockAsked
    | ChildAsked
    | ParentAsked
    | ParentGone
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
    | SagaMigrated
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
