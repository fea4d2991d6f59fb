"""What an operator can do to a saga. Each operation is a request of its own, decided by the coordinator like any event.

An operation is refused, with the reason, where the saga's state forbids it; nothing is ever half done.
"""

from typing import Annotated, Final, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

from countermand.schemas.identifiers import NAME_MAX, STEP_MAX
from countermand.schemas.moments import Moment

# What a person writes into the history is read by people, and stays as long as the saga does.
ACTOR_MAX: Final = 128
WHY_MAX: Final = 1_000

Actor = Annotated[str, Meta(min_length=1, max_length=ACTOR_MAX)]
Why = Annotated[str, Meta(min_length=1, max_length=WHY_MAX)]
RoleName = Annotated[str, Meta(min_length=1, max_length=NAME_MAX)]
Digest = Annotated[str, Meta(pattern="^[0-9a-f]{64}$")]
StepName = Annotated[str, Meta(min_length=1, max_length=STEP_MAX)]

Duration = Annotated[int, Meta(ge=1, le=366 * 24 * 60 * 60 * 1000)]


class _Operation(msgspec.Struct, frozen=True, tag_field="operation", forbid_unknown_fields=True, omit_defaults=True):
    """What every operation is."""


class RetryStep(_Operation, frozen=True, tag="retry"):
    """Asks for a step (or, while the saga goes back, for its compensation) again, at once, with fresh patience.

    `step` null: what the saga is stuck on. `input`, JSON, takes the place of what the definition would send; only for
    an action that has never been asked for, or was rejected: of any other, an old attempt could still run.
    """

    step: StepName | None = None
    input: msgspec.Raw | None = None


class SkipStep(_Operation, frozen=True, tag="skip"):
    """Goes on without a step. An action counts as done, with `result`; a compensation is left undone for good."""

    step: StepName | None = None
    result: msgspec.Raw | None = None


class CompensateSaga(_Operation, frozen=True, tag="compensate"):
    """Turns the saga back: everything that it did is undone."""


class PauseSaga(_Operation, frozen=True, tag="pause"):
    """Asks for nothing more. What is out may still be answered, and the answer counts."""


class ResumeSaga(_Operation, frozen=True, tag="resume"):
    """Goes on with a paused saga. `clock` says whether the time on hold counts against the saga's deadline."""

    clock: Literal["stopped", "ran"] = "stopped"


class ExtendDeadline(_Operation, frozen=True, tag="extend"):
    """Moves the saga's deadline to a moment (Unix time), or by so much from where it is, or from now if that is later.

    Exactly one of the two is given. A saga without a deadline gets one.
    """

    deadline_ms: Moment | None = None
    by_ms: Duration | None = None


class SettleCompensation(_Operation, frozen=True, tag="settle_compensation"):
    """Counts a compensation as done by hand. `evidence` says how anybody can see that it was."""

    evidence: Why
    step: StepName | None = None


class AbandonSaga(_Operation, frozen=True, tag="abandon"):
    """Ends the saga where it stands, and undoes nothing: what it did remains."""


class DecideApproval(_Operation, frozen=True, tag="decide"):
    """Decides an approval that the saga waits for.

    `digest` is that of what was shown: whoever decides about something else than the saga asks is refused. `roles` are
    those that the asker says the actor has.
    """

    step: StepName
    decision: Literal["approved", "denied"]
    digest: Digest
    comment: Annotated[str, Meta(max_length=WHY_MAX)] = ""
    roles: tuple[RoleName, ...] = ()


class MigrateSaga(_Operation, frozen=True, tag="migrate"):
    """Moves a saga on hold to another version of its definition, as far as the two are compatible."""

    version: Annotated[int, Meta(ge=1)]


Operation = (
    RetryStep
    | SkipStep
    | CompensateSaga
    | PauseSaga
    | ResumeSaga
    | ExtendDeadline
    | SettleCompensation
    | AbandonSaga
    | DecideApproval
    | MigrateSaga
)


class RetryBody(_Operation, frozen=True, tag="retry"):
    """`RetryStep` as it is read: of a field that is any JSON or nothing, msgspec reads only null."""

    step: StepName | None = None
    input: msgspec.Raw | UnsetType = UNSET


class SkipBody(_Operation, frozen=True, tag="skip"):
    """`SkipStep` as it is read."""

    step: StepName | None = None
    result: msgspec.Raw | UnsetType = UNSET


OperationBody = (
    RetryBody
    | SkipBody
    | CompensateSaga
    | PauseSaga
    | ResumeSaga
    | ExtendDeadline
    | SettleCompensation
    | AbandonSaga
    | DecideApproval
    | MigrateSaga
)


def operation_of(body: OperationBody) -> Operation:
    """The operation that was read. A payload in it has not been looked at."""
    match body:
        case RetryBody(step=step, input=payload):
            return RetryStep(step, None if isinstance(payload, UnsetType) else payload)
        case SkipBody(step=step, result=payload):
            return SkipStep(step, None if isinstance(payload, UnsetType) else payload)
        case _:
            return body


def name_of(operation: Operation) -> str:
    """The operation's name on the wire, such as `settle_compensation`."""
    return str(type(operation).__struct_config__.tag)


def step_of(operation: Operation) -> str | None:
    """The step that it names, if it names one."""
    return operation.step if isinstance(operation, RetryStep | SkipStep | SettleCompensation | DecideApproval) else None
