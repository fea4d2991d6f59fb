"""What an operator can do to a saga now, and what each of it would do, in words.

An operation is listed exactly if `operations.weigh` lets it pass; an extension that needs a moment is weighed with one.
"""

import itertools
from collections.abc import Iterable, Sequence
from typing import Final, Literal, assert_never

import msgspec

from countermand.coordinator.core.approvals import open_approvals
from countermand.coordinator.core.operations import Target, remaining_effects, weigh
from countermand.coordinator.core.plan import Plan, places
from countermand.coordinator.core.routes import has_effect
from countermand.coordinator.core.state import SagaState
from countermand.coordinator.core.turning import pivot_stands
from countermand.schemas.identifiers import Direction, step_name, step_place
from countermand.schemas.operations import (
    AbandonSaga,
    CompensateSaga,
    DecideApproval,
    ExtendDeadline,
    MigrateSaga,
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
_DECISIONS: Final[tuple[Literal["approved", "denied"], ...]] = ("approved", "denied")
# Nobody reads more choices than this; each is found by its name all the same.
INSTANCES_MAX: Final = 50
# Of a loop's items, so many are named one by one.
NEIGHBOURS_MAX: Final = 5


class Possible(msgspec.Struct, frozen=True):
    """One operation that would be accepted now. `step` and `direction` are null where it is about the whole saga.

    `decision` is that of an approval.
    """

    operation: str
    step: str | None
    direction: Direction | None
    effect: str
    decision: Literal["approved", "denied"] | None = None


def possible_operations(plan: Plan, state: SagaState, at_ms: int) -> list[Possible]:
    """What would be accepted now, the most likely way out first; empty for an ended saga."""
    if state.ended:
        return []
    found: list[Possible] = []
    for operation in _candidates(plan, state, at_ms):
        target = weigh(plan, state, operation, at_ms, _anybody(state, operation))
        if isinstance(target, Target):
            direction = None if target.step is None else target.direction
            effect = _effect(plan, state, operation, target)
            decision = operation.decision if isinstance(operation, DecideApproval) else None
            found.append(Possible(name_of(operation), target.ref, direction, effect, decision))
    return found


def _anybody(state: SagaState, operation: Operation) -> str:
    """Somebody who may do this, if it is for particular people."""
    asked = open_approvals(state).get(operation.step) if isinstance(operation, DecideApproval) else None
    return next((each for each in asked.assignees if each != asked.requester), "") if asked is not None else ""


def _candidates(plan: Plan, state: SagaState, at_ms: int) -> list[Operation]:
    stuck_on = None if state.stuck is None else state.stuck.step
    # What the saga is stuck on comes first, in whatever order its steps were asked for.
    # Of steps in a loop, those that something is known of.
    known = [ref for ref, step in state.steps.items() if ref not in plan.steps and not step.over]
    named = [name for name in plan.steps if plan.step(name) is not None]
    waited = [stuck_on] if stuck_on is not None and plan.spot(stuck_on) is not None else []
    names = dict.fromkeys([*waited, *named, *known[:INSTANCES_MAX]])
    decisions: list[Operation] = [
        DecideApproval(ref, decision, mark.digest, roles=mark.roles)
        for ref, mark in list(open_approvals(state).items())[:INSTANCES_MAX]
        for decision in _DECISIONS
    ]
    operations: list[Operation] = [*decisions, ResumeSaga(), *([RetryStep()] if state.halted else [])]
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
            remaining = ", ".join(summed(remaining_effects(state))) or "none"
            return f"ends the saga as it is and undoes nothing; effects that remain: {remaining}"
        case DecideApproval(decision="approved"):
            return f"approves {_name(target)}, as {' or '.join(operation.roles) or 'an assignee'}; the saga goes on"
        case DecideApproval():
            return f"denies {_name(target)}; the saga takes the branch for that, or turns back if it has none"
        case MigrateSaga(version=version):
            return f"moves the saga to version {version} of its definition"
        case _:
            assert_never(operation)


def _effect_of_retry(target: Target) -> str:
    if target.step is None and target.ref is not None:
        return f"begins {target.ref} again, with all of its time"
    if target.step is None:
        return "goes on from what the store still knows; participants answer from their records what they did already"
    if target.direction == "undo":
        return f"asks {target.step.participant} again to undo {target.ref}, under the same key"
    if target.track is not None and target.track.status == "rejected":
        return f"asks {target.step.participant} again for {target.ref}, under a new key; its input can be edited"
    if target.track is None:
        return f"tries again to make the command of {target.ref}; its input can be given by hand"
    return f"asks {target.step.participant} again for {target.ref}, under the same key: it is done once at most"


def _effect_of_compensation(plan: Plan, state: SagaState) -> str:
    done = [
        ref
        for ref, known in state.steps.items()
        if (step := plan.step(ref)) is not None and step.kind != "pivot" and has_effect(step, known)
    ]
    written = {name: index for index, name in enumerate(plan.steps)}
    # In the order of the definition, and of a loop's items; the last comes first.
    done.sort(key=lambda ref: (written[step_name(ref)], [int(each[1:-1]) for each in places(step_place(ref))]))
    order = ", ".join(_by_step(done[::-1])) or "nothing"
    if pivot_stands(plan, state) != "unanswered":
        return f"turns the saga back and undoes {order}"
    if state.stuck is not None and state.stuck.cause == "pivot_unknown":
        first = f"{plan.pivot} is closed, or found to be done, which needs you again"
        return f"turns the saga back: first {first}; then it undoes {order}"
    return f"turns the saga back as soon as {plan.pivot} has answered that it was not done"


def summed(effects: Iterable[str]) -> list[str]:
    """Effects that remain, those of a loop's items together: `ask_quote[…]: done (87 items)`."""
    together: dict[str, list[str]] = {}
    for effect in effects:
        ref, _, how = effect.partition(": ")
        together.setdefault(f"{step_name(ref)}[…]: {how}" if step_place(ref) else effect, []).append(effect)
    return [each[0] if len(each) == 1 else f"{text} ({len(each):,} items)" for text, each in together.items()]


def _by_step(refs: Sequence[str]) -> list[str]:
    """Neighbours of the same name together: of a loop's items nobody reads each."""
    found: list[str] = []
    for _, group in itertools.groupby(refs, key=step_name):
        each = list(group)
        found += each if len(each) <= NEIGHBOURS_MAX else [f"{each[0]} … {each[-1]} ({len(each):,} items)"]
    return found


def _name(target: Target) -> str:
    return target.ref or ""
