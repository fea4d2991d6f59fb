"""Deciding an approval: who may, about what exactly, and once.

It fails closed: whoever is not named by the approval is refused, and so is a decision about anything but what is shown.
"""

from countermand.coordinator.core.draft import Draft
from countermand.coordinator.core.journal import ApprovalDecided
from countermand.coordinator.core.opening import decision_result, denied
from countermand.coordinator.core.plan import Plan
from countermand.coordinator.core.refusal import Refusal
from countermand.coordinator.core.state import Approval, SagaState
from countermand.schemas.operations import DecideApproval


def open_approvals(state: SagaState) -> dict[str, Approval]:
    """The approvals that the saga waits for, by name and place."""
    return {ref: mark for ref, mark in state.marks.items() if isinstance(mark, Approval) and mark.status == "open"}


def weigh_decision(plan: Plan, state: SagaState, operation: DecideApproval, actor: str, at_ms: int) -> Refusal | None:
    """Why somebody can't decide an approval; null if they can."""
    if state.halted:
        return Refusal("state_lost", "a part of the saga's state was lost: retry the saga first, then decide")
    asked = state.marks.get(operation.step)
    if not isinstance(asked, Approval):
        waiting = ", ".join(open_approvals(state)) or "none"
        return Refusal(
            "not_asked", f"step: {operation.step!r} is no approval that the saga waits for; it waits for: {waiting}"
        )
    if asked.status != "open":
        by = f" by {asked.by}" if asked.by is not None else ""
        return Refusal("already_decided", f"step: {operation.step} is {asked.status}{by} already")
    # Its time is over at that moment, not when the wake-up gets round to saying so; on hold, its clock stands still.
    if asked.until_ms <= (at_ms if state.paused is None else state.paused.since_ms):
        return Refusal("too_late", f"step: the time to decide {operation.step} is over")
    if operation.digest != asked.digest:
        return Refusal("digest_mismatch", "digest: this is not what the saga asks to be decided; look at it again")
    if actor == asked.requester:
        return Refusal("requester", f"actor: {actor} asked for this, so somebody else has to decide")
    if actor not in asked.assignees and not set(operation.roles) & set(asked.roles):
        needed = [*(f"the role {role}" for role in asked.roles), *asked.assignees]
        return Refusal("not_allowed", f"actor: {actor} may not decide this; it needs {' or '.join(needed)}")
    return None


def decide_approval(draft: Draft, operation: DecideApproval, actor: str) -> None:
    """Takes a decision that was weighed."""
    ref = operation.step
    draft.take_result(ref, decision_result(operation.decision, actor, operation.comment))
    draft.add(ApprovalDecided(ref, operation.decision, actor))
    if operation.decision == "denied":
        denied(draft, ref, actor)
