"""Turning a saga or a scope back, and ending a saga: what the deadline, a client, an operator and a failure come to."""

from typing import Final, Literal

import msgspec

from countermand.coordinator.core.draft import Draft
from countermand.coordinator.core.journal import (
    CompensationStarted,
    DeadlineMissed,
    SagaEnded,
    SagaStuck,
    TurnDeferred,
)
from countermand.coordinator.core.plan import Plan
from countermand.coordinator.core.state import DONE, Approval, Saga, SagaState, Sleep, StuckCause, Wait
from countermand.schemas.messages import Failure, Outcome

_NULL: Final = msgspec.Raw(b"null")

# Where a saga stands to its pivot: before it, at it and in doubt, or past it.
Stand = Literal["ahead", "unanswered", "passed"]


def pivot_stands(plan: Plan, state: SagaState) -> Stand:
    """Where the saga stands to its pivot, which is never put away."""
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


def fail(draft: Draft, failure: Failure, ref: str) -> None:
    """A node of the saga can't be done: the innermost scope around it turns back, or the saga."""
    if ref != draft.plan.pivot and pivot_stands(draft.plan, draft.state) != "ahead":
        # Asked again after a loss of state, and not confirmed: but the saga may be past its pivot.
        stick(draft, "forward_exhausted", ref, f"{failure.code}: {failure.reason}")
        return
    for scope in draft.plan.scopes_around(ref):
        if draft.saga.mark(scope) is None:
            draft.add(CompensationStarted(failure, scope, tuple(_out_in(draft, scope))))
            return
    draft.add(CompensationStarted(failure))


def stick(draft: Draft, cause: StuckCause, step: str, detail: str) -> None:
    """The saga needs a person.

    The first cause is told; the others stand in the history and show once it is settled. Newer word of the same step
    takes the place of the older.
    """
    stuck = draft.state.stuck
    if stuck is None or stuck.step == step:
        draft.add(SagaStuck(cause, step, detail))


def _out_in(draft: Draft, scope: str) -> list[str]:
    """The nodes within a scope for which something is out, or waited for."""
    state = draft.state
    refs = [ref for ref, step in state.steps.items() if step.open or ref in state.confirming]
    refs += [
        ref for ref, mark in state.marks.items() if isinstance(mark, Wait | Sleep | Approval) and mark.status == "open"
    ]
    return [ref for ref in refs if scope in draft.plan.scopes_around(ref)]


def end(draft: Draft, entry: SagaEnded) -> None:
    """Ends the saga and tells those who wait for it."""
    draft.add(entry)
    for queue in draft.state.watchers:
        draft.answer(queue, outcome_of(draft.saga))


def outcome_of(saga: Saga) -> Outcome:
    """What an ended saga tells those who wait for it."""
    # A child saga may have been undone after it had completed.
    result = saga.outcome if saga.state.phase == "completed" else None
    return Outcome(saga.state.saga_id, saga.state.phase, result or _NULL, saga.state.failure)
