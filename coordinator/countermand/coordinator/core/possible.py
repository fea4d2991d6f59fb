"""What an operator can do to a saga now, and what each of it would do, in words.

An operation is listed exactly if `operations.weigh` lets it pass; an extension that needs a moment is weighed with one.
"""

from typing import Final

import msgspec

from countermand.coordinator.core.operations import Target, remaining_effects, weigh
from countermand.coordinator.core.plan import Plan
from countermand.coordinator.core.state import SagaState
from countermand.coordinator.core.turning import pivot_stands
from countermand.schemas.identifiers import Direction
from countermand.schemas.operations import (
    AbandonSaga,
    CompensateSaga,
    ExtendDeadline,
    Operation,
    PauseSaga,
    ResumeSaga,
    RetryStep,
    SettleCompensation,
    SkipStep,
    name_of,
)

_HOUR_MS: Final = 60 * 60 * 1000
_ANY_EVIDENCE: Final = "?"


class Possible(msgspec.Struct, frozen=True):
    """One operation that would be accepted now. `step` and `direction` are null where it is about the whole saga."""

    operation: str
    step: str | None
    direction: Direction | None
    effect: str


def possible_operations(plan: Plan, state: SagaState, at_ms: int) -> list[Possible]:
    """What would be accepted now, the most likely way out first; empty for an ended saga."""
    if state.ended:
        return []
    found: list[Possible] = []
    for operation in _candidates(plan, state, at_ms):
        target = weigh(plan, state, operation, at_ms)
        if isinstance(target, Target):
            step = None if target.step is None else target.step.name
            direction = None if target.step is None else target.direction
            effect = _effect(plan, state, operation, target)
            found.append(Possible(name_of(operation), step, direction, effect))
    return found


def _candidates(plan: Plan, state: SagaState, at_ms: int) -> list[Operation]:
    stuck_on = None if state.stuck is None else state.stuck.step
    # What the saga is stuck on comes first, in whatever order its steps were asked for.
    names = sorted(plan.steps, key=lambda name: name != stuck_on)
    operations: list[Operation] = [ResumeSaga(), *([RetryStep()] if state.halted else [])]
    for name in names:
        operations += [RetryStep(name), SettleCompensation(_ANY_EVIDENCE, name), SkipStep(name)]
    return [*operations, CompensateSaga(), PauseSaga(), ExtendDeadline(by_ms=_HOUR_MS), AbandonSaga()]


def _effect(plan: Plan, state: SagaState, operation: Operation, target: Target) -> str:
    match operation:
        case RetryStep():
            return _effect_of_retry(target)
        case SkipStep() if target.direction == "undo":
            return (
                f"leaves the effect of {_name(target)} in place for good; nothing undoes it; "
                "the saga ends compensated_with_exceptions"
            )
        case SkipStep():
            return f"counts {_name(target)} as done, with the result that you give, and goes on"
        case SettleCompensation():
            return (
                f"counts {_name(target)} as undone by hand, on your evidence, and goes on undoing the rest; "
                "the saga ends compensated_with_exceptions"
            )
        case CompensateSaga():
            return _effect_of_compensation(plan, state)
        case PauseSaga():
            return "asks for nothing more until you resume it; what is out may still be answered, and the answer counts"
        case ResumeSaga():
            return "goes on; the time on hold doesn't count against the saga's deadline, unless you say so"
        case ExtendDeadline():
            return "gives the saga more time before it turns back" if state.deadline_ms else "gives the saga a deadline"
        case AbandonSaga():
            remaining = ", ".join(remaining_effects(state)) or "none"
            return f"ends the saga as it is and undoes nothing; effects that remain: {remaining}"


def _effect_of_retry(target: Target) -> str:
    if target.step is None:
        return "goes on from what the store still knows; participants answer from their records what they did already"
    if target.direction == "undo":
        return f"asks {target.step.participant} again to undo {target.step.name}, under the same key"
    if target.track is not None and target.track.status == "rejected":
        return f"asks {target.step.participant} again for {target.step.name}, under a new key; its input can be edited"
    if target.track is None:
        return f"tries again to make the command of {target.step.name}; its input can be given by hand"
    return f"asks {target.step.participant} again for {target.step.name}, under the same key: it is done once at most"


def _effect_of_compensation(plan: Plan, state: SagaState) -> str:
    done = [name for name, step in state.steps.items() if step.do.status != "rejected" and name in plan.steps]
    order = ", ".join(reversed([name for name in plan.steps if name in done])) or "nothing"
    if pivot_stands(plan, state) != "unanswered":
        return f"turns the saga back and undoes {order}"
    if state.stuck is not None and state.stuck.cause == "pivot_unknown":
        first = f"{plan.pivot} is closed, or found to be done, which needs you again"
        return f"turns the saga back: first {first}; then it undoes {order}"
    return f"turns the saga back as soon as {plan.pivot} has answered that it was not done"


def _name(target: Target) -> str:
    return "" if target.step is None else target.step.name
