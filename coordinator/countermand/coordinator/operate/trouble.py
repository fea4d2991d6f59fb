"""Why a saga is stuck, in plain words: what happened, and what it means."""

from typing import assert_never

import msgspec

from countermand.coordinator.core import Plan
from countermand.coordinator.core.state import SagaState, Stuck, StuckCause
from countermand.coordinator.operate.reading import CAUSES_IN_WORDS
from countermand.schemas.definition import COORDINATOR, ApprovalNode, StepNode, WaitNode


class Trouble(msgspec.Struct, frozen=True):
    """`detail` is what the participant said last, or what is missing; `because` says it all in one line."""

    cause: StuckCause
    since_ms: int
    step: str | None
    happened: str
    detail: str
    means: str
    because: str


def trouble_of(plan: Plan, state: SagaState) -> Trouble | None:
    """Why a saga is stuck; null for one that isn't."""
    stuck = state.stuck
    if stuck is None:
        return None
    where = f" (step {stuck.step})" if stuck.step else ""
    return Trouble(
        cause=stuck.cause,
        since_ms=stuck.since_ms,
        step=stuck.step,
        happened=_happened(plan, state, stuck),
        detail=stuck.detail,
        means=_means(plan, stuck.cause, stuck.step or "the step"),
        because=f"{CAUSES_IN_WORDS[stuck.cause]}{where}: {stuck.detail}",
    )


def _happened(plan: Plan, state: SagaState, stuck: Stuck) -> str:
    name = stuck.step or "a step"
    spot = plan.spot(name)
    who = "the participant" if spot is None else _who(spot.step)
    times = _times(state, stuck)
    match stuck.cause:
        case "compensation_exhausted":
            return f"{who} was asked {times} to undo {name}, and never did it"
        case "compensation_rejected":
            return f"{who} refused to undo {name}"
        case "pivot_unknown":
            return f"{who} was asked {times} for {name}, the pivot, and nobody knows whether it was done"
        case "forward_exhausted":
            return f"{who} was asked {times} for {name}, and never did it"
        case "forward_rejected" if spot is not None and isinstance(spot.node, WaitNode):
            return f"{name} waited in vain, after the pivot"
        case "forward_rejected" if spot is not None and isinstance(spot.node, ApprovalNode):
            return f"{name} was not approved, after the pivot"
        case "forward_rejected":
            return f"{who} refused {name}, which comes after the pivot"
        case "unresolvable" if spot is not None and spot.step is None:
            return f"what {name} needs can't be made of the saga's data"
        case "unresolvable":
            return f"the command for {name} can't be made"
        case "state_lost":
            return "the store has lost what was committed: somebody answered a command that it doesn't know of"
        case _:
            assert_never(stuck.cause)


def _who(step: StepNode | None) -> str:
    if step is None:
        return "the participant"
    return "the coordinator itself" if step.participant == COORDINATOR else step.participant


def _means(plan: Plan, cause: StuckCause, step: str) -> str:
    spot = plan.spot(step)
    match cause:
        case "compensation_exhausted" | "compensation_rejected":
            return (
                f"What {step} did still stands, and so do the steps before it, which are undone after it. "
                "Whatever doesn't depend on it goes on being undone."
            )
        case "pivot_unknown":
            return f"The saga can neither go on nor turn back before it is known whether {step} was done."
        case "forward_rejected" if spot is not None and spot.step is None:
            return (
                f"The saga is past its pivot and can't go back: {step} has to begin again, or the saga go over to a "
                "version of its definition that has a branch for this."
            )
        case "forward_exhausted" | "forward_rejected":
            return f"The saga is past its pivot and can't go back: {step} has to be done in the end, or be skipped."
        case "unresolvable":
            return f"Nothing was sent for {step}. Trying again as it is makes the same mistake."
        case "state_lost":
            return (
                "The saga does nothing any more: going on blindly could leave something half done. "
                "Compare what the participants did with the history first."
            )
        case _:
            assert_never(cause)


def _times(state: SagaState, stuck: Stuck) -> str:
    known = None if stuck.step is None else state.steps.get(stuck.step)
    number = 0 if known is None else (known.undo or known.do).attempt
    return {0: "repeatedly", 1: "once", 2: "twice"}.get(number, f"{number} times")
