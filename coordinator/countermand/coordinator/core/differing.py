"""What another version of a definition means for one saga, node by node, in words: what is run, what isn't any more,
what stays as it was, and what counts from now on."""

from collections.abc import Iterator
from typing import Any, Final

import msgspec

from countermand.coordinator.core.plan import LIMIT_STEP, Plan, Spot
from countermand.coordinator.core.reachable import Reached, is_open, reach
from countermand.coordinator.core.routes import has_effect, route_of
from countermand.coordinator.core.state import DONE, Looped, Mark, SagaState, StepState
from countermand.schemas.identifiers import step_name

# The fields of nodes that are nodes themselves: each of those speaks for itself.
_BRANCHES: Final = frozenset({"then", "otherwise", "body", "on_timeout"})

Said = Iterator[tuple[str | None, str]]


def notes_on(plan: Plan, target: Plan, state: SagaState, reached: Reached) -> Said:
    """What going over means for a saga that can; the node's name (null: the saga as a whole), and what is to be said.

    `reached` is how far it has come in the other version.
    """
    if plan.definition.deadline_ms != target.definition.deadline_ms and state.deadline_ms is not None:
        yield None, f"its deadline stays the moment that it is; that of {target.label} is for new sagas"
    elif plan.definition.deadline_ms != target.definition.deadline_ms:
        yield None, f"it goes on without a deadline; that of {target.label} is for new sagas"
    known = _newest(state)
    ahead_before = reach(plan, state).ahead
    for name, spot in target.spots.items():
        if name == LIMIT_STEP:
            if name not in known:
                yield None, f"{target.label} limits how many run at once: this saga is not counted"
        elif name not in plan.spots:
            yield name, "is new, and will be run" if name in reached.ahead else "is new, and is not run any more"
        elif _own(spot) != _own(plan.spots[name]):
            yield name, _changed(target, plan.spots[name], spot, known.get(name))
    for name in plan.spots:
        if name not in target.spots and name != LIMIT_STEP:
            said = _gone(known.get(name), name in ahead_before)
            if said:
                yield name, said
    yield from _unread(plan, target, ahead_before, reached, known)


def _newest(state: SagaState) -> dict[str, StepState | Mark]:
    """What is known of each node, by name; of one in a loop, of an item that isn't over yet, if there is one."""
    found: dict[str, StepState | Mark] = {}
    for ref, step in state.steps.items():
        before = found.get(step_name(ref))
        if not isinstance(before, StepState) or before.do.status in DONE:
            found[step_name(ref)] = step
    for ref, mark in state.marks.items():
        if step_name(ref) not in found or is_open(mark):
            found[step_name(ref)] = mark
    return found


def _own(spot: Spot) -> dict[str, Any]:
    fields = {field: getattr(spot.node, field) for field in spot.node.__struct_fields__ if field not in _BRANCHES}
    # As JSON, because to Python 1 and True are the same, and a list and a tuple are not.
    return {field: msgspec.json.encode(value, order="sorted") for field, value in fields.items()}


def _changed(target: Plan, old: Spot, new: Spot, known: StepState | Mark | None) -> str:
    if known is None:
        return f"has changed, and is run as {target.label} says"
    if isinstance(known, Looped):
        more = "" if _same_but(old, new, "concurrency") else "; how many run at a time counts from now on"
        return f"keeps its items ({known.count}){more}"
    if not isinstance(known, StepState):
        return "has changed, and waits on as it has begun" if is_open(known) else "has changed, and stays as decided"
    if known.do.status == "rejected":
        return f"was rejected; a retry asks for what {target.label} says"
    if known.do.status not in DONE:
        return "goes on with what it was asked with; its timeouts and retries count from now on"
    return f"is done, and stays as it is{_undone(old, new, known)}"


def _undone(old: Spot, new: Spot, known: StepState) -> str:
    if old.step is None or new.step is None:
        return ""
    before, after = route_of(old.step, known), route_of(new.step)
    if not before.compensated:
        return "; the version that did it has no compensation for it" if after.compensated else ""
    if not after.compensated:
        return "; should the saga turn back, it is undone all the same"
    if before.participant != after.participant:
        return f"; should the saga turn back, {before.participant} is asked to undo it"
    return ""


def _same_but(old: Spot, new: Spot, field: str) -> bool:
    return bool(getattr(old.node, field, None) == getattr(new.node, field, None))


def _gone(known: StepState | Mark | None, ahead: bool) -> str:
    if known is None:
        return "is gone, and will not be run" if ahead else ""
    if isinstance(known, StepState):
        return "is gone; it was rejected, and is not asked for again"
    return "is gone; it is over already"


def _unread(
    plan: Plan, target: Plan, ahead_before: frozenset[str], reached: Reached, known: dict[str, StepState | Mark]
) -> Said:
    lost = plan.results_read_by(ahead_before) - target.results_read_by(reached.ahead)
    for name in plan.spots:
        evidence = known.get(name)
        if name not in lost or name not in target.spots or not isinstance(evidence, StepState):
            continue
        if evidence.do.status in DONE:
            kept = "; it can still be undone" if (step := plan.steps.get(name)) and has_effect(step, evidence) else ""
            yield name, f"is done; its result is not read any more{kept}"
