"""Which steps to ask for now: two walks over the definition's tree.

Forward, a sequence stops at its first unfinished child and a parallel walks all of its branches. Backward is the mirror
image: a sequence begins at its end. So a compensation is asked for only when everything that came after its action has
been undone (invariant I6), and branches that don't depend on each other go on without each other.
"""

from typing import Final

import msgspec

from countermand.coordinator.core.state import SagaState
from countermand.schemas.definition import Node, ParallelNode, SequenceNode, StepNode

# What needs nothing more: evidence of the participant, or an operator's word.
DONE: Final = ("succeeded", "skipped")
BY_HAND: Final = ("skipped", "settled")
UNDONE: Final = ("succeeded", *BY_HAND)


class Frontier(msgspec.Struct, frozen=True):
    """The steps to ask for now; `finished` when there is nothing left to do or to wait for in this direction."""

    steps: tuple[StepNode, ...]
    finished: bool


def forward_frontier(root: Node, state: SagaState) -> Frontier:
    """The actions that can be asked for now."""
    found: list[StepNode] = []
    finished = _forward(root, state, found)
    return Frontier(tuple(found), finished)


def backward_frontier(root: Node, state: SagaState) -> Frontier:
    """The compensations that can be asked for now, in reverse dependency order."""
    found: list[StepNode] = []
    finished = _backward(root, state, found)
    return Frontier(tuple(found), finished)


def needs_compensation(step: StepNode, state: SagaState) -> bool:
    """Whether the saga may not end before the participant has acknowledged the step's undo (invariant I5).

    Every action that was asked for is undone, unless it was rejected: a rejection stands on record under the step's
    key, so nothing can be done under it any more. A failure doesn't, however surely its attempt was rolled back: a copy
    of the command may still be on the way. For the same reason a pivot that was given up gets an undo, though it has no
    compensation: the barrier then closes its key, or says that the pivot was done after all.
    """
    known = state.steps.get(step.name)
    closable = step.can_be_undone or step.kind == "pivot"
    return known is not None and closable and known.do.status in ("succeeded", "skipped", "unknown", "not_done")


def _forward(node: Node, state: SagaState, found: list[StepNode]) -> bool:
    match node:
        case StepNode():
            known = state.steps.get(node.name)
            if known is None:
                found.append(node)
            return known is not None and known.do.status in DONE
        case SequenceNode(nodes=children):
            return all(_forward(child, state, found) for child in children)
        case ParallelNode(branches=branches):
            # First the list, then its sum: every branch is walked, whatever the others say.
            finished = [_forward(branch, state, found) for branch in branches]
            return all(finished)


def _backward(node: Node, state: SagaState, found: list[StepNode]) -> bool:
    match node:
        case StepNode():
            if not needs_compensation(node, state):
                return True
            undo = state.steps[node.name].undo
            if undo is None:
                found.append(node)
            return undo is not None and undo.status in UNDONE
        case SequenceNode(nodes=children):
            return all(_backward(child, state, found) for child in reversed(children))
        case ParallelNode(branches=branches):
            finished = [_backward(branch, state, found) for branch in branches]
            return all(finished)
