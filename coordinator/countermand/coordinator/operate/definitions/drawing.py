"""A definition as something to draw: steps, groups side by side, and the edges between them.

Sequences are chains of items; only parallels make groups. Solid edges lead forward, dashed ones are the way back: what
is compensated, in reverse order.
"""

from collections.abc import Iterator, Mapping
from itertools import pairwise
from typing import Literal

import msgspec

from countermand.coordinator.operate.story import StepStory
from countermand.schemas.definition import Definition, Node, ParallelNode, SequenceNode, StepNode

# How a step of one saga stands; `plain` where no saga is drawn or it hasn't come to the step.
State = Literal["plain", "running", "done", "failed", "undoing", "undone", "trouble", "skipped"]

_DO: Mapping[str, State] = {
    "asked": "running",
    "waiting": "running",
    "succeeded": "done",
    "rejected": "failed",
    "not_done": "failed",
    "unknown": "failed",
    "exhausted": "trouble",
    "skipped": "skipped",
}
_UNDO: Mapping[str, State] = {
    "asked": "undoing",
    "waiting": "undoing",
    "succeeded": "undone",
    "settled": "undone",
    "rejected": "trouble",
    "exhausted": "trouble",
    "skipped": "skipped",
}


class Mark(msgspec.Struct, frozen=True):
    """How a step stands, and the words for it."""

    state: State
    words: str


class StepItem(msgspec.Struct, frozen=True):
    """A step to draw; `id` is unique in the drawing and safe in any notation."""

    id: str
    step: StepNode
    mark: Mark | None = None


class GroupItem(msgspec.Struct, frozen=True):
    """Chains side by side."""

    id: str
    branches: tuple["Chain", ...]


Item = StepItem | GroupItem
Chain = tuple[Item, ...]


class Edge(msgspec.Struct, frozen=True):
    """From one item's id to another's."""

    source: str
    target: str


class Drawing(msgspec.Struct, frozen=True):
    """A whole definition. `back` are the edges of compensation."""

    title: str
    chain: Chain
    forward: tuple[Edge, ...]
    back: tuple[Edge, ...]


def drawing(definition: Definition, marks: Mapping[str, Mark] | None = None, *, title: str = "") -> Drawing:
    """What there is to draw; with `marks`, how each step stands, by its name."""
    chain = _Numbered(marks or {}).chain(definition.root)
    pairs = list(_pairs(chain))
    return Drawing(
        title=title or definition.label,
        chain=chain,
        forward=tuple(Edge(before.id, after.id) for before, after, _ in pairs),
        back=tuple(Edge(after.id, before.id) for before, after, undone in pairs if undone),
    )


def mark_of(story: StepStory) -> Mark:
    """How a step of a saga stands: by its compensation, once that is asked for."""
    undo = story.undo
    if undo is not None and undo.status in _UNDO:
        return Mark(_UNDO[undo.status], undo.words)
    return Mark(_DO.get(story.do.status, "plain"), story.do.words)


def items(chain: Chain) -> Iterator[Item]:
    """Every item, groups before what is in them."""
    for item in chain:
        yield item
        if isinstance(item, GroupItem):
            for branch in item.branches:
                yield from items(branch)


class _Numbered:
    def __init__(self, marks: Mapping[str, Mark]) -> None:
        self._marks = marks
        self._count = 0

    def chain(self, node: Node) -> Chain:
        match node:
            case StepNode():
                return (StepItem(self._id("s"), node, self._marks.get(node.name)),)
            case SequenceNode(nodes=children):
                return tuple(item for child in children for item in self.chain(child))
            case ParallelNode(branches=branches):
                return (GroupItem(self._id("g"), tuple(self.chain(branch) for branch in branches)),)

    def _id(self, letter: str) -> str:
        self._count += 1
        return f"{letter}{self._count}"


def _pairs(chain: Chain) -> Iterator[tuple[Item, Item, bool]]:
    """Neighbours in a chain and in all chains inside it, and whether a way back leads from the later one."""
    to_undo = False
    for before, after in pairwise(chain):
        to_undo = to_undo or any(_undoable(item) for item in items((before,)))
        yield before, after, to_undo and _turns_back(after)
    for item in chain:
        if isinstance(item, GroupItem):
            for branch in item.branches:
                yield from _pairs(branch)


def _undoable(item: Item) -> bool:
    return isinstance(item, StepItem) and item.step.can_be_undone


def _turns_back(item: Item) -> bool:
    """Whether a saga can still turn back here: not after the pivot."""
    return any(isinstance(each, StepItem) and each.step.kind != "retriable" for each in items((item,)))
