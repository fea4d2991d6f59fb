"""Whether a saga could go on under another version of its definition, and what that would mean for each node.

It could if what is known of its nodes could have come about under that version: nodes are compared by their names and
contracts, and the saga is laid over the other tree. What is done keeps its place among what is done, so that it can be
undone in the order that it was done in.
"""

from collections.abc import Iterator
from itertools import pairwise
from typing import Any, Final

import msgspec

from countermand.coordinator.core.differing import notes_on
from countermand.coordinator.core.frontier import branch_of
from countermand.coordinator.core.plan import LIMIT_STEP, Plan, Spot
from countermand.coordinator.core.reachable import Reached, is_open, reach
from countermand.coordinator.core.routes import has_effect
from countermand.coordinator.core.state import DONE, Mark, Saga, SagaState, Scoped, StepState, Track, Wait
from countermand.coordinator.core.turning import pivot_stands
from countermand.schemas.definition import (
    ChildNode,
    LockNode,
    SequenceNode,
    StepNode,
    WaitNode,
)
from countermand.schemas.identifiers import step_name
from countermand.schemas.path import UnresolvedPath

_KINDS: Final = {
    "step": "a step",
    "when": "a condition",
    "for_each": "a loop",
    "wait_for": "a wait",
    "sleep": "a sleep",
    "approval": "an approval",
    "child": "a child saga",
    "lock": "a lock",
    "scope": "a scope",
}


class Note(msgspec.Struct, frozen=True):
    """One thing to know about a migration. `node` is null for what is about the saga as a whole."""

    node: str | None
    said: str

    def __str__(self) -> str:
        return self.said if self.node is None else f"{self.node}: {self.said}"


class Comparison(msgspec.Struct, frozen=True):
    """What keeps a saga from going over (nothing, if it can), and what going over would mean.

    `forgotten` are nodes that the other version doesn't have and of which nothing needs undoing. `exempt` are steps
    that it has, and that the saga does without.
    """

    obstacles: tuple[Note, ...]
    notes: tuple[Note, ...] = ()
    forgotten: tuple[str, ...] = ()
    exempt: tuple[str, ...] = ()


def compare(plan: Plan, target: Plan, saga: Saga) -> Comparison:
    """A saga in motion, of which nothing is put away, beside another version of its definition."""
    state = saga.state
    by_name = _by_name(plan, target, state)
    if by_name:
        return Comparison(by_name)
    exempt = (LIMIT_STEP,) if LIMIT_STEP in target.spots and LIMIT_STEP not in state.steps else ()
    counted = {**state.steps, **{name: StepState(Track("skipped", 0)) for name in exempt}}
    reached = reach(target, msgspec.structs.replace(state, steps=counted))
    obstacles = (
        *_by_place(target, state, reached),
        *_by_undoing(plan, target, state),
        *_by_data(target, saga, reached),
    )
    if obstacles:
        return Comparison(obstacles)
    known = dict.fromkeys(map(step_name, (*state.steps, *state.marks)))
    # The turn that a saga has had is given back when it ends; until then it is known which request that was.
    forgotten = tuple(name for name in known if name not in target.spots and name != LIMIT_STEP)
    notes = tuple(Note(node, said) for node, said in notes_on(plan, target, state, reached))
    return Comparison((), notes, forgotten, exempt)


# --- by names and contracts


def _by_name(plan: Plan, target: Plan, state: SagaState) -> tuple[Note, ...]:
    # In a loop the same is true of many items, and is said once.
    found: dict[Note, None] = {}
    known: list[tuple[str, StepState | Mark]] = [*state.steps.items(), *state.marks.items()]
    for ref, evidence in known:
        name = step_name(ref)
        old, new = plan.spots.get(name), target.spots.get(name)
        if old is None:
            continue  # Forgotten by an earlier migration.
        said = _missing(target, name, evidence) if new is None else _unlike(target, old, new, evidence)
        if said:
            found[Note(name, said)] = None
    return tuple(found)


def _missing(target: Plan, name: str, evidence: StepState | Mark) -> str:
    if isinstance(evidence, StepState):
        settled = evidence.do.status == "rejected" and evidence.undo is None
        if settled or (name == LIMIT_STEP and evidence.do.status in DONE):
            return ""
        what = "is done" if evidence.do.status in DONE else "has been asked for"
        return f"{what}, and {target.label} doesn't have it: nothing could undo it"
    if isinstance(evidence, Scoped):
        return f"has failed, and {target.label} doesn't have it"
    return f"is waited for, and {target.label} doesn't have it" if is_open(evidence) else ""


def _unlike(target: Plan, old: Spot, new: Spot, evidence: StepState | Mark) -> str:
    """Why a node with this evidence can't be the other version's node of that name; empty if it can."""
    if type(old.node) is not type(new.node):
        return f"is {_kind(old)}, and {_kind(new)} in {target.label}"
    if old.loops != new.loops:
        return f"stands in another loop in {target.label}"
    if old.scopes != new.scopes:
        return f"stands in another scope in {target.label}"
    if isinstance(evidence, StepState):
        return _other_contract(target, old, new, evidence)
    if is_open(evidence) and isinstance(evidence, Wait) and isinstance(new.node, WaitNode):
        same = evidence.event == new.node.event
        return "" if same else f"waits for {evidence.event}, and in {target.label} for {new.node.event}"
    if not is_open(evidence) and branch_of(old, evidence) is not None and branch_of(new, evidence) is None:
        return f"has gone into a branch that {target.label} doesn't have"
    return ""


def _other_contract(target: Plan, old: Spot, new: Spot, known: StepState) -> str:
    before, after = old.step, new.step
    if before is None or after is None or known.do.status == "rejected":
        return ""  # Nothing was done, and nothing can be done any more under the key that it had.
    match old.node, new.node:
        case ChildNode(definition=was), ChildNode(definition=becomes) if was != becomes:
            return f"started a saga of {was}, and in {target.label} it starts one of {becomes}"
        case LockNode(lock=was), LockNode(lock=becomes) if was != becomes:
            return f"asked for the lock {was}, and in {target.label} it asks for {becomes}"
        case _:
            pass
    if before.action != after.action:
        return f"asked for {before.action}, and in {target.label} it asks for {after.action}"
    if before.kind != after.kind:
        return f"is {before.kind}, and in {target.label} it is {after.kind}"
    if before.on_unknown != after.on_unknown and known.do.status == "unknown" and known.undo is None:
        return f"is in doubt, and {target.label} deals with that in another way; settle it first"
    if before.participant != after.participant and known.do.status not in DONE:
        asked = before.participant if known.route is None else known.route.participant
        return f"an attempt may still run at {asked}, and {target.label} asks {after.participant}"
    return ""


def _kind(spot: Spot) -> str:
    return _KINDS[str(type(spot.node).__struct_config__.tag)]


# --- by their places


def _by_place(target: Plan, state: SagaState, reached: Reached) -> Iterator[Note]:
    for unfinished, begun in reached.overtaken:
        yield Note(unfinished, f"comes before {begun} in {target.label}, which has begun: it would be run out of order")
    lost = [ref for ref in (*state.steps, *state.marks) if ref not in reached.seen and step_name(ref) in target.spots]
    for name in dict.fromkeys(map(step_name, lost)):
        yield Note(name, f"has been reached, and stands where this saga wouldn't have come by in {target.label}")


def _by_undoing(plan: Plan, target: Plan, state: SagaState) -> Iterator[Note]:
    stands = pivot_stands(plan, state)
    if stands != pivot_stands(target, state):
        pivot = "no pivot" if target.pivot is None else f"another pivot ({target.pivot})"
        yield Note(plan.pivot, f"is the pivot, and has been asked for; {target.label} has {pivot}")
    effects = {
        step_name(ref)
        for ref, known in state.steps.items()
        if (step := plan.step(ref)) is not None and has_effect(step, known)
    }
    where = dict(_ways(target.root, ()))
    for first, then in dict.fromkeys(_ordered(plan.root, effects)[2]):
        if not _before(where[first], where[then]):
            said = f"was done before {then}, and in {target.label} it isn't: they would be undone in another order"
            yield Note(first, said)


Way = tuple[tuple[int, int, bool], ...]


def _ways(spot: Spot, way: Way) -> Iterator[tuple[str, Way]]:
    """For each node the way from the root: at each spot the child, and whether its children run one after another."""
    if spot.name:
        yield spot.name, way
    in_order = isinstance(spot.node, SequenceNode)
    for index, child in enumerate(spot.children):
        yield from _ways(child, (*way, (spot.number, index, in_order)))


def _before(first: Way, then: Way) -> bool:
    for one, other in zip(first, then, strict=False):
        if one != other:
            return one[2] and one[1] < other[1]
    return False


def _ordered(spot: Spot, names: set[str]) -> tuple[list[str], list[str], list[tuple[str, str]]]:
    """Of these steps those that come first under a spot, those that come last, and each pair with nothing between."""
    if isinstance(spot.node, StepNode | ChildNode | LockNode):
        own = [spot.name] if spot.name in names else []
        return own, own, []
    parts = [part for child in spot.children if (part := _ordered(child, names))[0]]
    pairs = [pair for part in parts for pair in part[2]]
    if not parts or not isinstance(spot.node, SequenceNode):
        return [name for part in parts for name in part[0]], [name for part in parts for name in part[1]], pairs
    for (_, lasts, _), (firsts, _, _) in pairwise(parts):
        pairs += [(last, first) for last in lasts for first in firsts]
    return parts[0][0], parts[-1][1], pairs


# --- by what is to be read


def _by_data(target: Plan, saga: Saga, reached: Reached) -> Iterator[Note]:
    """What the nodes that are still to come need and the saga doesn't have."""
    saga_id = saga.state.saga_id
    rejected = {step_name(ref) for ref, known in saga.state.steps.items() if known.do.status == "rejected"}
    readers = reached.ahead | rejected
    try:
        target.input_reads_of(readers).render(saga_id=saga_id, input=_decoded(saga.input), results={})
    except UnresolvedPath as error:
        yield Note(None, f"{error.expression}: {error.problem}; {target.label} reads it of the saga's input")
    templates = {}
    said: set[str] = set()
    for ref, result in saga.results.items():
        name = step_name(ref)
        if name not in target.spots or ref not in reached.seen or name in said:
            continue
        if name not in templates:
            templates[name] = target.reads_of(name, readers)
        try:
            templates[name].render(saga_id=saga_id, input=None, results={name: _decoded(result)})
        except UnresolvedPath as error:
            said.add(name)
            yield Note(name, f"{error.expression}: {error.problem}; {target.label} reads it of the result")


def _decoded(value: msgspec.Raw) -> Any:
    return msgspec.json.decode(value)
