"""Turning a saga back, and ending it: what the deadline, a client, an operator and a failure all come to."""

from typing import Final, Literal

import msgspec

from countermand.coordinator.core.draft import Draft
from countermand.coordinator.core.frontier import DONE
from countermand.coordinator.core.journal import CompensationStarted, DeadlineMissed, SagaEnded, TurnDeferred
from countermand.coordinator.core.plan import Plan
from countermand.coordinator.core.state import Saga, SagaState
from countermand.schemas.messages import Failure, Outcome

_NULL: Final = msgspec.Raw(b"null")

# Where a saga stands to its pivot: before it, at it and in doubt, or past it.
Stand = Literal["ahead", "unanswered", "passed"]


def pivot_stands(plan: Plan, state: SagaState) -> Stand:
    pivot = None if plan.pivot is None else state.steps.get(plan.pivot)
    if pivot is None:
        return "ahead"
    if pivot.do.status in DONE:
        return "passed"
    maybe_done = pivot.do.status in ("asked", "unknown") or pivot.do.doubtful
    return "unanswered" if maybe_done and pivot.do.status != "rejected" else "ahead"


def turn(draft: Draft, failure: Failure) -> None:
    """One rule for every way out: compensate, unless the pivot has been passed or has yet to answer."""
    match pivot_stands(draft.plan, draft.state):
        case "passed":
            draft.add(DeadlineMissed())
        case "unanswered":
            draft.add(TurnDeferred(failure))
        case "ahead":
            draft.add(CompensationStarted(failure))


def end(draft: Draft, entry: SagaEnded) -> None:
    """Ends the saga and tells those who wait for it."""
    draft.add(entry)
    for queue in draft.state.watchers:
        draft.answer(queue, outcome_of(draft.saga))


def outcome_of(saga: Saga) -> Outcome:
    """What an ended saga tells those who wait for it."""
    return Outcome(saga.state.saga_id, saga.state.phase, saga.outcome or _NULL, saga.state.failure)
