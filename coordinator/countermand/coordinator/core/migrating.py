"""Moving a saga on hold to another version of its definition: whether it can be, and how it is done.

Nothing is done or undone by it. What is done stays evidence under its name, and is undone as the version said that did
it: by that participant, with that input. Everything else is as the other version says, from now on.
"""

from typing import Final

import msgspec

from countermand.coordinator.core.compatibility import Comparison, Note, compare
from countermand.coordinator.core.draft import Draft
from countermand.coordinator.core.frontier import branch_of
from countermand.coordinator.core.journal import SagaMigrated, SagaReleased
from countermand.coordinator.core.plan import Plan
from countermand.coordinator.core.refusal import Refusal
from countermand.coordinator.core.routes import inputs_to_keep, routes_to_keep
from countermand.coordinator.core.state import Saga, SagaState
from countermand.schemas.errors import InvariantViolated
from countermand.schemas.identifiers import step_name

# A refusal is read by people; whoever wants to know all of it looks with a dry run.
OBSTACLES_TOLD: Final = 5


class Incompatible(Refusal, frozen=True):
    """The other version doesn't fit the saga; every reason."""

    obstacles: tuple[Note, ...] = ()


def weigh_migration(plan: Plan, target: Plan | None, saga: Saga, version: int) -> Comparison | Refusal:
    """What moving a saga in motion to another version would mean, or why it is not possible now.

    Nothing of the saga may have been put away. `target` is null if there is no such version.
    """
    state, name = saga.state, plan.definition.name
    if state.halted:
        return Refusal("state_lost", "a part of the saga's state was lost: nobody knows what is done. Retry it first")
    if state.phase != "running":
        problem = "the saga is going back, and what it did is undone as the version said that did it, whatever comes"
        return Refusal("already_compensating", problem)
    if state.paused is None and state.stuck is None:
        return Refusal("not_on_hold", "the saga is running; pause it first")
    if target is None:
        return Refusal("unknown_definition", f"version: {name}@{version} is not registered")
    if target.definition.name != name:
        raise InvariantViolated(f"a saga of {name} was to go over to {target.label}")
    if target.hash == plan.hash:
        return Refusal("same_version", f"version: the saga is at {target.label} already")
    out = [ref for ref, step in state.steps.items() if step.newest[1].status == "asked"]
    if out:
        more = f" and {len(out) - 1} more" if len(out) > 1 else ""
        problem = f"an attempt of {out[0]}{more} is out; wait for its answer or its timeout, then look again"
        return Refusal("attempt_out", problem)
    comparison = compare(plan, target, saga)
    if not comparison.obstacles:
        return comparison
    told = "; ".join(map(str, comparison.obstacles[:OBSTACLES_TOLD]))
    rest = len(comparison.obstacles) - OBSTACLES_TOLD
    problem = f"version: {told}" + (f"; and {rest} more" if rest > 0 else "")
    return Incompatible("incompatible", problem, comparison.obstacles)


def migrate(draft: Draft, target: Plan, comparison: Comparison) -> None:
    """Moves a saga that was weighed; from here on the draft is one of the other version."""
    plan, saga = draft.plan, draft.saga
    before = saga.state
    inputs = inputs_to_keep(plan, target, saga)
    for ref, body in inputs.items():
        draft.take_edit(ref, msgspec.Raw(body))
    draft.add(
        SagaMigrated(
            definition=target.label,
            definition_hash=target.hash,
            former=plan.label,
            former_hash=plan.hash,
            routes=routes_to_keep(plan, target, saga),
            inputs_kept=tuple(dict.fromkeys(map(step_name, inputs))),
            forgotten=comparison.forgotten,
            exempt=comparison.exempt,
        )
    )
    draft.plan = target
    if _may_go_on(target, before, comparison):
        draft.add(SagaReleased())


def _may_go_on(target: Plan, before: SagaState, comparison: Comparison) -> bool:
    """Whether what the saga is stuck on is another matter now. If it isn't, it is stuck on it again at once."""
    stuck = before.stuck
    if stuck is None or stuck.step is None:
        return False
    mark, spot = before.marks.get(stuck.step), target.spot(stuck.step)
    branches = mark is not None and spot is not None and branch_of(spot, mark) is not None
    return stuck.cause == "unresolvable" or step_name(stuck.step) in comparison.forgotten or branches
