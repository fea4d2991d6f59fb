"""How far a saga has come: of how many steps the effect stands, those of every item of its loops."""

from collections.abc import Sequence
from typing import Final

import msgspec

from countermand.coordinator.core.plan import OVER_MAX
from countermand.coordinator.core.state import DONE, Looped, Mark, SagaState, StepState
from countermand.coordinator.ports import SagaStore
from countermand.schemas.definition import (
    ChildNode,
    Definition,
    ForEachNode,
    LockNode,
    Node,
    StepNode,
    children_of,
    nodes_of,
)
from countermand.schemas.identifiers import step_name

UNDONE_STATUSES: Final = ("succeeded", "settled")  # A compensation that was skipped leaves the effect in place.


class Progress(msgspec.Struct, frozen=True):
    """Steps that were done, those of them that stand, and all that there may be.

    `total` is null where the definition is lost; the others are, of a large saga whose past would have to be loaded.
    """

    done: int | None
    standing: int | None
    total: int | None


async def progress_of(store: SagaStore, states: Sequence[SagaState]) -> list[Progress]:
    """How far each of these sagas has come.

    What is over in a large saga is put away beside its state. It is not loaded for this: nobody would wait for a list.
    """
    definitions: dict[str, Definition | None] = {}
    for identity in {state.definition_hash for state in states}:
        definitions[identity] = await store.definition(identity)
    large = [state.saga_id for state in states if _may_be_put_away(definitions[state.definition_hash])]
    loaded = await store.load_parts([(saga_id, None) for saga_id in large]) if large else []
    wholes = {
        each.saga.state.saga_id: each.saga.whole().state
        for each in loaded
        if each is not None and each.saga.looked_for is None
    }
    unknown = set(large) - wholes.keys()
    return [
        Progress(None, None, None)
        if state.saga_id in unknown
        else progress(definitions[state.definition_hash], wholes.get(state.saga_id, state))
        for state in states
    ]


def progress(definition: Definition | None, state: SagaState) -> Progress:
    """How far a saga with nothing put away has come."""
    if definition is None:
        return Progress(_count(state, None, standing=False), _count(state, None, standing=True), None)
    names = {node.name for node in nodes_of(definition.root) if isinstance(node, StepNode | ChildNode | LockNode)}
    return Progress(
        _count(state, names, standing=False),
        _count(state, names, standing=True),
        _total(definition.root, "", state.marks),
    )


def _count(state: SagaState, names: set[str] | None, *, standing: bool) -> int:
    return sum(
        step.do.status in DONE and not (standing and _undone(step))
        for ref, step in state.steps.items()
        if names is None or step_name(ref) in names
    )


def _undone(step: StepState) -> bool:
    return step.undo is not None and step.undo.status in UNDONE_STATUSES


def _total(node: Node, place: str, marks: dict[str, Mark]) -> int:
    """A loop that was not opened counts as one item: nobody knows better."""
    own = isinstance(node, StepNode | ChildNode | LockNode)
    if isinstance(node, ForEachNode) and isinstance(mark := marks.get(node.name + place), Looped):
        return sum(_total(node.body, f"{place}[{index}]", marks) for index in range(mark.count))
    return own + sum(_total(child, place, marks) for _, child in children_of(node))


def _may_be_put_away(definition: Definition | None) -> bool:
    """Whether its sagas may grow beyond what a state holds: small ones are whole as they are listed."""
    if definition is None:
        return False
    nodes = list(nodes_of(definition.root))
    return len(nodes) > OVER_MAX or any(isinstance(node, ForEachNode) for node in nodes)
